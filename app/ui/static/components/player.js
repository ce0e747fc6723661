// One player for all clips of the page: whatever is begun stops what was playing.

import { useEffect, useRef } from "preact/hooks";
import { blob } from "../api.js";
import { html } from "../html.js";
import { emotionName, t } from "../language.js";
import { address } from "../route.js";
import { beginsToPlay, hush } from "../sounding.js";
import { store } from "../store.js";
import { Icon } from "./icon.js";
import { inWords, tell } from "./notes.js";

const playing = store(null); // {clip, url, paused}
let audio = null; // the element, once it is there
const pause = () => audio?.pause();

const isOn = (clip) => playing.get()?.clip.clip_id === clip.clip_id;

/** Plays a clip, {clip_id, emotion}; a second call pauses it, a third goes on. */
export async function play(clip) {
  const now = playing.get();
  if (isOn(clip)) {
    if (!now.url) return; // it is on its way
    if (audio.paused) audio.play().catch(() => {});
    else pause();
    return;
  }
  hush();
  forget(now);
  playing.set({ clip, url: null, paused: true });
  try {
    // With a request of our own: an element's cannot carry the key.
    const sound = await blob(`/clips/${clip.clip_id}/audio`);
    if (isOn(clip)) playing.set({ clip, url: URL.createObjectURL(sound), paused: true });
  } catch (error) {
    if (!isOn(clip)) return; // nobody waits for it any more
    playing.set(null);
    const { what, todo } = inWords(error);
    tell(error.type === "not-found" ? t("player.none", { id: String(clip.clip_id) }) : `${what} ${todo}`);
  }
}

const forget = (was) => was?.url && URL.revokeObjectURL(was.url);

function close() {
  pause();
  forget(playing.get());
  playing.set(null);
}

/** Whether it is this clip that plays now. */
export function useIsPlaying(clipId) {
  const now = playing.use();
  return now?.clip.clip_id === clipId && !now.paused;
}

export function PlayButton({ clip }) {
  const on = useIsPlaying(clip.clip_id);
  if (clip.has_audio === false) return html`<span class="dim" title=${t("clip.no_audio")}>–</span>`;
  return html`<button
    class="play"
    data-play=${clip.clip_id}
    aria-pressed=${String(on)}
    aria-label=${t(on ? "player.pause" : "player.play", { id: String(clip.clip_id) })}
    onClick=${() => play(clip)}
  >
    <${Icon} name=${on ? "pause" : "play"} />
  </button>`;
}

export function NowPlaying() {
  const now = playing.use();
  const element = useRef();
  useEffect(() => {
    audio = element.current;
    if (now?.url && audio.src !== now.url) {
      audio.src = now.url;
      audio.play().catch(() => {}); // a browser that wants a click first has its controls
    }
  }, [now?.url]);
  const note = (paused) => playing.set((one) => one && { ...one, paused });
  if (!now) return null;
  return html`<aside class="playing" aria-label=${t("player.label")}>
    <a href=${address("clip", now.clip.clip_id)}>${t("clip.name", { id: String(now.clip.clip_id) })}</a>
    <span class="dim">${now.clip.emotion ? emotionName(now.clip.emotion) : ""}</span>
    <audio
      ref=${element}
      controls
      onPlay=${() => (beginsToPlay(pause), note(false))}
      onPause=${() => note(true)}
      onEnded=${() => note(true)}
      onError=${() => now.url && tell(t("player.broken"))}
    ></audio>
    <button class="quiet" aria-label=${t("player.close")} onClick=${close}><${Icon} name="close" /></button>
  </aside>`;
}
