// A recording as a waveform, by wavesurfer.js: play, seek, hear slower.

import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { duration as inTime, t } from "../language.js";
import { beginsToPlay } from "../sounding.js";
import { colourNow, onTheme } from "../theme.js";
import { AXIS } from "./chart.js";
import { Icon } from "./icon.js";

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2];

const look = () => ({
  waveColor: colourNow("--wave"),
  progressColor: colourNow("--accent"),
  cursorColor: colourNow("--text"),
});

/**
 * sound: a Blob. tellOf(seconds): what is shown of the place that is pointed at. onTime(seconds)
 * is called while it plays, and `control.current` becomes {seek(seconds)}.
 */
export function Waveform({ sound, tellOf, onTime, control }) {
  const box = useRef();
  const surfer = useRef();
  const [state, setState] = useState({ playing: false, at: 0, length: 0, failed: false });
  const [hint, setHint] = useState(null); // {left, text}
  const [speed, setSpeed] = useState(1);
  const told = useRef(onTime);
  told.current = onTime;

  useEffect(() => {
    let gone = false;
    const change = (changes) => setState((before) => ({ ...before, ...changes }));
    const ofTheme = onTheme(() => surfer.current?.setOptions(look()));
    import("wavesurfer").then(({ default: WaveSurfer }) => {
      if (gone || !box.current) return; // off the page, whose boxes go before this is told
      const wave = WaveSurfer.create({
        container: box.current,
        height: 96,
        barWidth: 2,
        barGap: 1,
        barRadius: 2,
        normalize: true,
        dragToSeek: true,
        hideScrollbar: true,
        ...look(),
      });
      const pause = () => wave.pause();
      const at = (seconds) => {
        change({ at: seconds });
        told.current?.(seconds);
      };
      surfer.current = wave;
      wave.on("ready", (length) => change({ length }));
      wave.on("timeupdate", at);
      wave.on("play", () => (beginsToPlay(pause), change({ playing: true })));
      wave.on("pause", () => change({ playing: false }));
      wave.on("finish", () => change({ playing: false }));
      wave.on("error", () => change({ failed: true }));
      wave.loadBlob(sound).catch(() => change({ failed: true }));
      if (control) control.current = { seek: (seconds) => wave.setTime(seconds) };
    }, () => change({ failed: true }));
    return () => {
      gone = true;
      ofTheme();
      surfer.current?.destroy();
      surfer.current = null;
      if (control) control.current = null;
    };
  }, [sound]);

  const point = (event) => {
    const { left, width } = box.current.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - left) / width));
    const seconds = share * state.length;
    setHint({ left: share * width, text: [inTime(seconds), tellOf?.(seconds)].filter(Boolean).join(" · ") });
  };

  if (state.failed) return html`<p class="dim">${t("wave.failed")}</p>`;
  return html`<div class="wave" style=${{ paddingLeft: `${AXIS}px` }}>
    <div
      class="drawn"
      ref=${box}
      onPointerMove=${state.length ? point : undefined}
      onPointerLeave=${() => setHint(null)}
    >
      ${hint && html`<output class="hint" style=${{ left: `${hint.left}px` }}>${hint.text}</output>`}
    </div>
    <div class="wave-controls">
      <button
        class="play"
        data-wave-play
        disabled=${!state.length}
        aria-label=${t(state.playing ? "wave.pause" : "wave.play")}
        onClick=${() => surfer.current.playPause()}
      >
        <${Icon} name=${state.playing ? "pause" : "play"} />
      </button>
      <input
        type="range"
        min="0"
        max=${state.length || 1}
        step="0.02"
        value=${state.at}
        aria-label=${t("wave.place")}
        aria-valuetext=${[inTime(state.at), tellOf?.(state.at)].filter(Boolean).join(" · ")}
        onInput=${(event) => surfer.current?.setTime(Number(event.currentTarget.value))}
      />
      <span class="time">${inTime(state.at)} / ${inTime(state.length)}</span>
      <label class="speed">
        <span class="unseen">${t("wave.speed")}</span>
        <select
          value=${speed}
          onChange=${(event) => {
            setSpeed(Number(event.currentTarget.value));
            surfer.current?.setPlaybackRate(Number(event.currentTarget.value));
          }}
        >
          ${SPEEDS.map((one) => html`<option value=${one}>×${one}</option>`)}
        </select>
      </label>
    </div>
  </div>`;
}
