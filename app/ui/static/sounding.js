// One sound at a time: whatever begins pauses what was playing.

let pause = null; // what plays now

/** To be called by what begins to play, with what pauses it. */
export function beginsToPlay(pauseIt) {
  if (pause !== pauseIt) pause?.();
  pause = pauseIt;
}

/** Silence, as before a recording. */
export function hush() {
  pause?.();
  pause = null;
}
