// A button that records from the microphone until it is pressed again.

import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { duration, t } from "../language.js";
import { BYTES_A_SECOND, canRecord, record } from "../recorder.js";
import { Icon } from "./icon.js";
import { hush } from "./player.js";

/** onFile(file) gets the recording, which ends by itself at the service's limits. */
export function RecorderButton({ limits, onFile }) {
  const [state, setState] = useState({ on: false, seconds: 0, level: 0, error: null });
  const recording = useRef(null);
  const most = limits ? Math.min(limits.seconds, limits.upload_bytes / BYTES_A_SECOND) - 1 : 60;

  useEffect(() => () => recording.current?.drop(), []);

  async function begin() {
    if (!canRecord()) return setState((before) => ({ ...before, error: "insecure" }));
    hush();
    try {
      recording.current = await record((seconds, level) => {
        setState((before) => ({ ...before, seconds, level }));
        if (seconds >= most) finish();
      });
      setState({ on: true, seconds: 0, level: 0, error: null });
    } catch (error) {
      const known = { NotAllowedError: "refused", NotFoundError: "none" };
      setState((before) => ({ ...before, on: false, error: known[error.name] ?? "failed" }));
    }
  }

  async function finish() {
    const ended = recording.current;
    recording.current = null;
    if (!ended) return; // by the limit and by hand at once
    setState({ on: false, seconds: 0, level: 0, error: null });
    onFile(await ended.stop());
  }

  return html`
    <button data-action="record" aria-pressed=${String(state.on)} onClick=${state.on ? finish : begin}>
      <${Icon} name=${state.on ? "stop" : "record"} /> ${t(state.on ? "recognise.record_stop" : "recognise.record")}
    </button>
    ${state.on &&
    html`<span class="recording" role="timer">${duration(state.seconds)}</span>
      <meter min="0" max="1" value=${state.level} aria-label=${t("recognise.level")}></meter>`}
    ${state.error && html`<p class="note error" role="alert">${t(`recognise.microphone_${state.error}`)}</p>`}
  `;
}
