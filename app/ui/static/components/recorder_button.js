// A button that records from the microphone until it is pressed again.

import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { duration, t } from "../language.js";
import { BYTES_A_SECOND, canRecord, record } from "../recorder.js";
import { hush } from "../sounding.js";
import { Icon } from "./icon.js";

const IDLE = { on: false, busy: false, seconds: 0, level: 0, error: null };

/** onFile(file) gets the recording, which ends by itself at the service's limits. */
export function RecorderButton({ limits, onFile }) {
  const [state, setState] = useState(IDLE);
  const recording = useRef(null);
  const most = limits ? Math.min(limits.seconds, limits.upload_bytes / BYTES_A_SECOND) - 1 : 60;

  const gone = useRef(false);
  useEffect(() => () => {
    gone.current = true;
    recording.current?.drop();
  }, []);
  const fail = (error) => {
    const known = { NotAllowedError: "refused", NotFoundError: "none" };
    setState({ ...IDLE, error: known[error.name] ?? "failed" });
  };

  async function begin() {
    if (!canRecord()) return setState({ ...IDLE, error: "insecure" });
    hush();
    setState({ ...IDLE, busy: true });
    try {
      const begun = await record((seconds, level) => {
        setState((before) => ({ ...before, seconds, level }));
        if (seconds >= most) finish();
      });
      if (gone.current) return await begun.drop(); // the visitor has left before it was allowed
      recording.current = begun;
      setState({ ...IDLE, on: true });
    } catch (error) {
      fail(error);
    }
  }

  async function finish() {
    const ended = recording.current;
    recording.current = null;
    if (!ended) return; // by the limit and by hand at once
    setState({ ...IDLE, busy: true });
    try {
      onFile(await ended.stop());
      setState(IDLE);
    } catch (error) {
      fail(error);
    }
  }

  return html`
    <button data-action="record" disabled=${state.busy} aria-pressed=${String(state.on)} onClick=${state.on ? finish : begin}>
      <${Icon} name=${state.on ? "stop" : "record"} /> ${t(state.on ? "recognise.record_stop" : "recognise.record")}
    </button>
    ${state.on &&
    html`<span class="recording" role="timer">${duration(state.seconds)}</span>
      <meter min="0" max="1" value=${state.level} aria-label=${t("recognise.level")}></meter>`}
    ${state.error && html`<p class="note error" role="alert">${t(`recognise.microphone_${state.error}`)}</p>`}
  `;
}
