// Runs beside the page: hands on what the microphone gives, as mono blocks.

registerProcessor(
  "recorder",
  class extends AudioWorkletProcessor {
    process([[...channels]]) {
      if (channels.length) {
        const block = Float32Array.from(channels[0], (_, place) =>
          channels.reduce((sum, channel) => sum + channel[place], 0) / channels.length,
        );
        this.port.postMessage(block, [block.buffer]);
      }
      return true;
    }
  },
);
