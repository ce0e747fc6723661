// In the page before its own scripts: what they ask for, draw, and keep the main thread busy with.
(() => {
  const bench = (window.bench = { pending: 0, painted: 0, tasks: [], frames: null });

  const fetched = window.fetch;
  window.fetch = async (...of) => {
    bench.pending += 1;
    try {
      return await fetched(...of);
    } finally {
      bench.pending -= 1;
    }
  };

  const put = CanvasRenderingContext2D.prototype.putImageData; // how the map draws many points
  CanvasRenderingContext2D.prototype.putImageData = function (...of) {
    bench.painted += 1;
    return put.apply(this, of);
  };

  new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) bench.tasks.push([startTime, duration]);
  }).observe({ type: "longtask", buffered: true });

  const frame = () => new Promise(requestAnimationFrame);

  /** Waits for something, looking at each frame. */
  bench.until = async (isSo) => {
    const giveUp = performance.now() + 60_000;
    do {
      await frame();
      if (performance.now() > giveUp) throw new Error(`not within a minute: ${location} ${isSo}`);
    } while (!isSo());
  };

  /** Instant at which all of `wanted` is there, nothing is awaited, and a frame has followed. */
  bench.usable = async (wanted, painted = 0) => {
    const there = () => {
      const main = document.querySelector("main");
      return (
        main !== null &&
        bench.pending === 0 &&
        bench.painted >= painted &&
        !main.querySelector("[aria-busy=true]") &&
        wanted.every((one) => main.querySelector(one))
      );
    };
    await bench.until(there);
    await frame();
    return performance.now();
  };

  /** Lengths of the long tasks since an instant. */
  bench.since = async (instant) => {
    await new Promise((done) => setTimeout(done, 100)); // they are told of with a delay
    return bench.tasks.filter(([start]) => start >= instant).map(([, duration]) => duration);
  };

  /** Goes to a tab, or to an address, and waits: {took, tasks}. */
  bench.go = async (place, wanted, map) => {
    const painted = map ? bench.painted + 1 : 0;
    const began = performance.now();
    if (place.startsWith("#")) location.hash = place;
    else document.querySelector(`nav [data-tab=${place}]`).click();
    const took = (await bench.usable(wanted, painted)) - began;
    return { took, tasks: await bench.since(began) };
  };

  /** Notes when frames are drawn, until `stopFrames`. */
  bench.startFrames = () => {
    bench.frames = [];
    bench.began = performance.now();
    const note = (instant) => {
      if (bench.frames === null) return;
      bench.frames.push(instant);
      requestAnimationFrame(note);
    };
    requestAnimationFrame(note);
  };

  bench.stopFrames = async () => {
    const { frames, began } = bench;
    bench.frames = null;
    return { frames, tasks: await bench.since(began) };
  };
})();
