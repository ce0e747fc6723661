// Says so, on every tab, where the service answers with the small bundled model.

import { html } from "../html.js";
import { t } from "../language.js";
import { ErrorNote } from "./notes.js";

export function ModelBanner({ status }) {
  if (status.error) {
    // The tab below tells of every other error itself.
    const starting = status.error.type === "unavailable";
    return starting && html`<${ErrorNote} error=${status.error} again />`;
  }
  if (!status.value?.model.bundled) return null;
  return html`<aside class="banner" aria-label=${t("model.banner_label")}>
    <p><strong>${t("model.bundled")}</strong> ${t("model.bundled_means")}</p>
    <details>
      <summary>${t("model.how")}</summary>
      <ol>
        <li>${t("model.how_pull")} <code>.venv/bin/emoseek models pull</code></li>
        <li>${t("model.how_set")} <code>EMOSEEK_MODEL=iic/emotion2vec_plus_large</code></li>
        <li>${t("model.how_reindex")} <code>.venv/bin/python scripts/reindex.py --model iic/emotion2vec_plus_large</code></li>
      </ol>
      <p>${t("model.how_closed")}</p>
    </details>
  </aside>`;
}
