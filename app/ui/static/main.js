// The page: its frame, and which tab is shown.

import { render } from "preact";
import { useErrorBoundary, useEffect, useRef, useState } from "preact/hooks";
import { forgetKey, get, hasKey } from "./api.js";
import { Dialogs } from "./components/dialogs.js";
import { ModelBanner } from "./components/model_banner.js";
import { Toasts } from "./components/notes.js";
import { NowPlaying } from "./components/player.js";
import { html } from "./html.js";
import { LANGUAGES, chooseLanguage, currentLanguage, t } from "./language.js";
import { useLoad } from "./loading.js";
import { recall, remember } from "./memory.js";
import { address, useRoute } from "./route.js";

const TABS = ["recognise", "library", "duplicates", "clusters", "reports", "customers", "status"];
const OF = { clip: "library", agents: "customers" }; // places that belong to another's tab
const THEMES = ["auto", "light", "dark"];

// Fetched when first looked at, or when there is nothing else to do.
const places = {
  recognise: () => import("./tabs/recognise.js"),
  library: () => import("./tabs/library.js"),
  clip: () => import("./tabs/clip.js"),
  duplicates: () => import("./tabs/duplicates.js"),
  clusters: () => import("./tabs/clusters.js"),
  reports: () => import("./tabs/reports.js"),
  customers: () => import("./tabs/customers.js"),
  agents: () => import("./tabs/customers.js"),
  status: () => import("./tabs/status.js"),
};

function Page() {
  const route = useRoute();
  const [language, setLanguage] = useState(currentLanguage());
  const [theme, setTheme] = useState(recall("theme") ?? "auto");
  const status = useLoad((signal) => get("/status", {}, { signal }), []);
  const heading = useRef();
  const place = Object.hasOwn(places, route.tab) ? route.tab : "recognise";
  const tab = OF[place] ?? place;

  useEffect(() => {
    document.documentElement.dataset.theme = theme;
    remember("theme", theme);
  }, [theme]);
  useEffect(() => {
    document.title = [route.id, t(`nav.${tab}`), "Emoseek"].filter(Boolean).join(" · ");
  }, [tab, route.id, language]);
  useEffect(() => {
    if (status.error) status.reload(); // there may be a key by now, or the service again
  }, [place, route.id]);

  const first = useRef(true);
  useEffect(() => {
    // Who reads with a screen reader is taken to what is new, but not out of a list of choices.
    if (!first.current && !document.activeElement?.matches("main select")) heading.current?.focus();
    first.current = false;
  }, [place, route.id]);

  return html`
    <a class="skip" href="#main" onClick=${(event) => {
      event.preventDefault();
      heading.current?.focus();
    }}>${t("nav.skip")}</a>
    <header class="top">
      <a class="brand" href=${address("recognise")}><img src="/page/icon.svg" alt="" width="28" height="28" />Emoseek</a>
      <nav aria-label=${t("nav.label")}>
        ${TABS.map(
          (name) => html`<a
            href=${address(name)}
            aria-current=${name === tab ? "page" : undefined}
            data-tab=${name}
            >${t(`nav.${name}`)}</a
          >`,
        )}
      </nav>
      <div class="choices">
        <select
          aria-label=${t("nav.language")}
          data-choice="language"
          value=${language}
          onChange=${(event) => {
            chooseLanguage(event.currentTarget.value);
            setLanguage(event.currentTarget.value);
          }}
        >
          ${Object.entries(LANGUAGES).map(([tag, name]) => html`<option value=${tag} lang=${tag}>${name}</option>`)}
        </select>
        <select
          aria-label=${t("nav.theme")}
          data-choice="theme"
          value=${theme}
          onChange=${(event) => setTheme(event.currentTarget.value)}
        >
          ${THEMES.map((name) => html`<option value=${name}>${t(`theme.${name}`)}</option>`)}
        </select>
        ${hasKey() && html`<button class="quiet" onClick=${() => (forgetKey(), location.reload())}>${t("key.forget")}</button>`}
      </div>
    </header>
    <${ModelBanner} status=${status} />
    <main id="main">
      <h1 tabindex="-1" ref=${heading}>${t(`nav.${tab}`)}</h1>
      <${Place} key=${place} load=${places[place]} route=${route} status=${status} />
    </main>
    <${NowPlaying} />
    <${Dialogs} />
    <${Toasts} />
  `;
}

/** A tab, once its file is here. What breaks in one leaves the others usable. */
function Place({ load, route, status }) {
  const [Tab, setTab] = useState(null);
  const [broken] = useErrorBoundary((error) => console.error(error));
  const [missing, setMissing] = useState(false);
  useEffect(() => {
    load().then(
      (file) => setTab(() => file.default),
      () => setMissing(true),
    );
  }, []);
  if (broken || missing) {
    return html`<div class="note error" role="alert">
      <p><strong>${t(missing ? "error.unreachable" : "error.page")}</strong></p>
      <p><button onClick=${() => location.reload()}>${t("action.reload")}</button></p>
    </div>`;
  }
  return Tab ? html`<${Tab} route=${route} status=${status} />` : html`<p class="dim" aria-busy="true">${t("loading")}</p>`;
}

chooseLanguage(currentLanguage());
render(html`<${Page} />`, document.getElementById("app"));
const idle = window.requestIdleCallback ?? setTimeout; // Safari has none
idle(() => Object.values(places).forEach((load) => load().catch(() => {}))); // then when it is looked at
