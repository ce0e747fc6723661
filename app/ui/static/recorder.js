// The microphone as a WAV file: browsers record into WebM, which the service does not take, and
// lose sound on the way.

const RATE = 16_000; // Hz, what the model hears
export const BYTES_A_SECOND = 2 * RATE;

export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && window.AudioWorkletNode);

/**
 * Begins to record. onBlock(seconds, level) is called with each block; `stop()` gives the WAV file,
 * `drop()` ends without one. Throws a DOMException where the visitor or the browser refuses.
 */
export async function record(onBlock) {
  const stream = await navigator.mediaDevices.getUserMedia({
    // As it sounds: what telephones do to a voice hides its emotion.
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const context = new AudioContext();
  const release = () => {
    stream.getTracks().forEach((track) => track.stop());
    return context.close();
  };
  const blocks = [];
  let samples = 0;
  try {
    await context.audioWorklet.addModule(new URL("./recorder_worklet.js", import.meta.url));
  } catch (error) {
    await release();
    throw error;
  }
  const source = context.createMediaStreamSource(stream);
  const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
  node.port.onmessage = ({ data }) => {
    blocks.push(data);
    samples += data.length;
    const loudest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    onBlock(samples / context.sampleRate, loudest);
  };
  source.connect(node);

  const end = async () => {
    source.disconnect();
    node.port.onmessage = null;
    await release();
  };
  return {
    drop: end,
    async stop() {
      await end();
      const heard = await resampled(blocks, samples, context.sampleRate);
      const name = new Date().toLocaleString("sv").replaceAll(":", ".").replace(" ", "_");
      return new File([wav(heard)], `recording_${name}.wav`, { type: "audio/wav" });
    },
  };
}

async function resampled(blocks, samples, rate) {
  if (!samples) return new Float32Array(0);
  const offline = new OfflineAudioContext(1, Math.ceil((samples * RATE) / rate), RATE);
  const buffer = offline.createBuffer(1, samples, rate);
  let place = 0;
  for (const block of blocks) {
    buffer.copyToChannel(block, 0, place);
    place += block.length;
  }
  const source = offline.createBufferSource();
  source.buffer = buffer;
  source.connect(offline.destination);
  source.start();
  return (await offline.startRendering()).getChannelData(0);
}

/** Mono 16-bit RIFF WAVE of samples at RATE. */
export function wav(samples) {
  const file = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, letters) => [...letters].forEach((one, place) => file.setUint8(at + place, one.charCodeAt(0)));
  text(0, "RIFF");
  file.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  file.setUint32(16, 16, true); // length of what follows, up to "data"
  file.setUint16(20, 1, true); // integers
  file.setUint16(22, 1, true); // channels
  file.setUint32(24, RATE, true);
  file.setUint32(28, BYTES_A_SECOND, true);
  file.setUint16(32, 2, true); // bytes a sample
  file.setUint16(34, 16, true); // bits a sample
  text(36, "data");
  file.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, place) => {
    const within = Math.max(-1, Math.min(1, value));
    file.setInt16(44 + 2 * place, Math.round(within * 32_767), true);
  });
  return file.buffer;
}
