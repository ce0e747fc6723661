// A run's clips in two dimensions, coloured by cluster or by emotion; a point plays its clip.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get } from "../api.js";
import { LABELS, mark, markOf } from "../emotions.js";
import { html } from "../html.js";
import { currentLanguage, emotionName, number, t } from "../language.js";
import { useLoad } from "../loading.js";
import { address } from "../route.js";
import { Scatter } from "../scatter.js";
import { colourNow, onTheme } from "../theme.js";
import { Loaded } from "./notes.js";
import { play } from "./player.js";
import { Swatch } from "./scores.js";

const PAGE = 20_000; // points of one request, the most that the API gives
const NONE = { colour: "#8a8f98", shape: "M-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0Z" };
const IN_LEGEND = 40;
const STEP = 60; // pixels, of a key

export function ClipMap({ runId, clusters }) {
  const [loaded, setLoaded] = useState(0);
  const points = useLoad((signal) => allPoints(runId, signal, setLoaded), [runId]);
  const [by, setBy] = useState("cluster");
  return html`<section class="card" data-part="map" aria-labelledby="map-title">
    <div class="row spread">
      <h2 id="map-title">${t("clusters.map")}</h2>
      <label>
        ${t("clusters.colour_by")}
        <select data-choice="colour" value=${by} onChange=${(event) => setBy(event.currentTarget.value)}>
          <option value="cluster">${t("clusters.by_cluster")}</option>
          <option value="emotion">${t("clusters.by_emotion")}</option>
        </select>
      </label>
    </div>
    ${points.loading && loaded > 0 && html`<p class="dim">${t("clusters.points_loaded", { count: loaded })}</p>`}
    <${Loaded} from=${points}>
      ${(found) => html`<${Drawn} points=${found} clusters=${clusters} by=${by} />`}
    <//>
  </section>`;
}

/** {ids, x, y, clusters, emotions}, typed arrays; emotions are places in LABELS, or −1. */
async function allPoints(runId, signal, onCount) {
  const pages = [];
  let count = 0;
  for (let cursor = null; ; ) {
    const page = await get(`/clusters/${runId}/map`, { limit: PAGE, cursor }, { signal });
    pages.push(page);
    count += page.clip_ids.length;
    onCount(count);
    cursor = page.next_cursor;
    if (cursor === null) break;
  }
  const all = (Kind, of) => {
    const values = new Kind(count);
    let place = 0;
    for (const page of pages) for (const value of of(page)) values[place++] = value;
    return values;
  };
  const codes = Object.fromEntries(LABELS.map((label, code) => [label, code]));
  return {
    ids: all(Float64Array, (page) => page.clip_ids), // ids may be beyond 2³²
    x: all(Float32Array, (page) => page.x),
    y: all(Float32Array, (page) => page.y),
    clusters: all(Int32Array, (page) => page.clusters),
    emotions: all(Int8Array, (page) => page.emotions.map((label) => codes[label] ?? -1)),
  };
}

/** Names, looks and numbers of the kinds by which points are coloured; kind 0 is none of them. */
function kindsBy(by, points, clusters) {
  const ofCluster = by === "cluster";
  const kinds = Uint32Array.from(ofCluster ? points.clusters : points.emotions, (code) => code + 1);
  const names = [t(ofCluster ? "clusters.outliers" : "emotion.none")];
  const looks = [NONE];
  if (ofCluster) {
    for (const { cluster, name } of clusters) [names[cluster + 1], looks[cluster + 1]] = [name, mark(cluster)];
  } else {
    LABELS.forEach((label, code) => ([names[code + 1], looks[code + 1]] = [emotionName(label), markOf(label)]));
  }
  const counts = new Uint32Array(names.length);
  for (const kind of kinds) counts[kind] += 1;
  return { kinds, names, looks, counts };
}

function Drawn({ points, clusters, by }) {
  const canvas = useRef();
  const scatter = useRef(null);
  const [near, setNear] = useState(null); // {point, left, top}
  const [hidden, setHidden] = useState(new Set());
  const [told, setTold] = useState(null); // the point that is told of below the map
  const coloured = useMemo(() => kindsBy(by, points, clusters), [by, points, clusters, currentLanguage()]);

  useEffect(() => {
    const { kinds, looks } = coloured;
    const before = scatter.current;
    const labels = by === "cluster" ? coloured.names.slice(0, IN_LEGEND) : [];
    const map = new Scatter(canvas.current, { x: points.x, y: points.y, kinds }, looks, labels);
    if (before?.points.x === points.x) Object.assign(map, { zoom: before.zoom, centre: before.centre, chosen: before.chosen });
    scatter.current = map;
    const paper = () => {
      map.background = colourNow("--card");
      map.ink = colourNow("--text");
      map.draw();
    };
    paper();
    setHidden(new Set());
    const size = new ResizeObserver(() => map.resize());
    size.observe(canvas.current);
    const ofTheme = onTheme(paper);
    const wheel = (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // it scrolls the page
      event.preventDefault();
      map.zoomBy(2 ** (-event.deltaY / 300), event.offsetX, event.offsetY);
    };
    canvas.current.addEventListener("wheel", wheel, { passive: false });
    const drawn = canvas.current;
    return () => {
      size.disconnect();
      ofTheme();
      drawn.removeEventListener("wheel", wheel);
      map.destroy();
    };
  }, [coloured]);

  const toggle = (kind) => {
    const changed = new Set(hidden);
    if (!changed.delete(kind)) changed.add(kind);
    setHidden(changed);
    scatter.current.hidden = changed;
    scatter.current.draw();
  };

  const clipOf = (point) => ({
    clip_id: points.ids[point],
    emotion: LABELS[points.emotions[point]] ?? null,
  });
  const inWords = (point) => {
    const { clip_id: id, emotion } = clipOf(point);
    const cluster = clusters.find((one) => one.cluster === points.clusters[point]);
    return [t("clip.name", { id: String(id) }), emotionName(emotion), cluster?.name ?? t("clusters.outliers")].join(" · ");
  };
  const choose = (point) => {
    scatter.current.chosen = point;
    scatter.current.draw();
    setTold(point);
    if (point !== null) play(clipOf(point));
  };
  /** Tells of the point nearest to the middle, after a key has moved the map. */
  const tellOfMiddle = () => setTold(scatter.current.inMiddle());

  const drag = usePointers(scatter, choose, setNear);
  const shownKinds = coloured.names
    .map((name, kind) => ({ name, kind, count: coloured.counts[kind] }))
    .filter(({ count }) => count > 0);

  return html`
    <div class="map">
      <canvas
        ref=${canvas}
        tabindex="0"
        role="application"
        aria-label=${t("clusters.map_label", { count: points.ids.length })}
        aria-describedby="map-keys"
        ...${drag}
        onFocus=${() => scatter.current.aim(true)}
        onBlur=${() => scatter.current.aim(false)}
        onKeyDown=${(event) => byKey(event, scatter.current, choose, tellOfMiddle)}
      ></canvas>
      ${near &&
      html`<div class="hint" style=${{ left: `${Math.min(near.left + 14, canvas.current.clientWidth - 200)}px`, top: `${near.top + 14}px` }}>
        ${inWords(near.point)}
      </div>`}
      <div class="zoom">
        <button class="small" aria-label=${t("clusters.zoom_in")} onClick=${() => scatter.current.zoomBy(1.6)}>+</button>
        <button class="small" aria-label=${t("clusters.zoom_out")} onClick=${() => scatter.current.zoomBy(1 / 1.6)}>−</button>
        <button class="small" onClick=${() => scatter.current.reset()}>${t("clusters.whole")}</button>
      </div>
    </div>
    <p class="dim" id="map-keys">${t("clusters.keys")}</p>
    <p role="status" data-part="chosen">
      ${told !== null && html`${inWords(told)} · <a href=${address("clip", points.ids[told])}>${t("clusters.open_clip")}</a>`}
    </p>
    <ul class="legend" aria-label=${t("clusters.legend")}>
      ${shownKinds.slice(0, IN_LEGEND).map(
        ({ name, kind, count }) => html`<li key=${kind}>
          <button aria-pressed=${String(!hidden.has(kind))} onClick=${() => toggle(kind)}>
            <${Swatch} ...${coloured.looks[kind]} />${name} <span class="dim">${number(count)}</span>
          </button>
        </li>`,
      )}
      ${shownKinds.length > IN_LEGEND && html`<li class="dim">${t("clusters.legend_more", { count: shownKinds.length - IN_LEGEND })}</li>`}
    </ul>
  `;
}

/** Pointing, clicking, dragging and pinching, as handlers for the canvas. */
function usePointers(scatter, choose, setNear) {
  const down = useRef(new Map()); // pointers that are pressed: {left, top}
  const moved = useRef(0);
  const spread = () => {
    const [one, other] = [...down.current.values()];
    return Math.hypot(one.left - other.left, one.top - other.top);
  };
  const at = (event) => ({ left: event.offsetX, top: event.offsetY });
  return {
    onPointerDown(event) {
      if (event.button !== 0) return;
      event.currentTarget.setPointerCapture(event.pointerId);
      down.current.set(event.pointerId, at(event));
      if (down.current.size === 1) moved.current = 0;
    },
    onPointerMove(event) {
      const map = scatter.current;
      const before = down.current.get(event.pointerId);
      const now = at(event);
      if (!before) {
        const point = map.near(now.left, now.top);
        setNear(point === null ? null : { point, ...now });
        return;
      }
      setNear(null);
      moved.current += Math.hypot(now.left - before.left, now.top - before.top);
      if (down.current.size === 1) {
        map.pan(now.left - before.left, now.top - before.top);
        down.current.set(event.pointerId, now);
      } else if (down.current.size === 2) {
        const wide = spread();
        down.current.set(event.pointerId, now);
        map.zoomBy(spread() / wide, now.left, now.top);
      }
    },
    onPointerUp(event) {
      const clicked = down.current.size === 1 && down.current.has(event.pointerId) && moved.current < 6;
      down.current.delete(event.pointerId);
      const { left, top } = at(event);
      if (clicked) choose(scatter.current.near(left, top));
    },
    onPointerCancel: (event) => down.current.delete(event.pointerId),
    onPointerLeave: () => setNear(null),
  };
}

/** Arrows move the map, + and − zoom, 0 shows it all, Enter plays what is nearest to the middle. */
function byKey(event, map, choose, tellOfMiddle) {
  const does = {
    ArrowLeft: () => map.pan(STEP, 0),
    ArrowRight: () => map.pan(-STEP, 0),
    ArrowUp: () => map.pan(0, STEP),
    ArrowDown: () => map.pan(0, -STEP),
    "+": () => map.zoomBy(1.4),
    "=": () => map.zoomBy(1.4),
    "-": () => map.zoomBy(1 / 1.4),
    0: () => map.reset(),
    Enter: () => choose(map.inMiddle()),
  }[event.key];
  if (!does || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  does();
  if (event.key !== "Enter") tellOfMiddle();
}
