// Runs beside the page: hands on what the microphone gives, as mono blocks.

const BLOCK = 4096; // samples handed on at once

registerProcessor(
  "recorder",
  class extends AudioWorkletProcessor {
    block = new Float32Array(BLOCK);
    filled = 0;

    process([channels]) {
      for (let place = 0; place < (channels[0]?.length ?? 0); place += 1) {
        this.block[this.filled] = channels.reduce((sum, channel) => sum + channel[place], 0) / channels.length;
        this.filled += 1;
        if (this.filled === BLOCK) {
          this.port.postMessage(this.block, [this.block.buffer]);
          this.block = new Float32Array(BLOCK);
          this.filled = 0;
        }
      }
      return true;
    }
  },
);
