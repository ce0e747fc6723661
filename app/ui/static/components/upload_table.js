// Files that were sent, how far they are, and what was heard, as a table to download.

import { save } from "../api.js";
import { LABELS } from "../emotions.js";
import { html } from "../html.js";
import { bytes, duration, t } from "../language.js";
import { address } from "../route.js";
import { again, clear } from "../uploads.js";
import { Icon } from "./icon.js";
import { inWords } from "./notes.js";
import { Emotion } from "./scores.js";

export function UploadTable({ uploads, shown, show }) {
  const through = uploads.filter((one) => one.state === "done" || one.state === "failed").length;
  const failed = uploads.filter((one) => one.state === "failed").length;
  return html`<section class="card" data-part="uploads" data-through=${through}>
    <div class="row spread">
      <h2>${t("recognise.files", { done: through, count: uploads.length })}</h2>
      <span class="buttons">
        <button data-download="csv" disabled=${!through} onClick=${() => save(csv(uploads), "emotions.csv")}>
          ${t("recognise.table")}
        </button>
        ${failed > 1 && html`<button onClick=${() => again()}>${t("recognise.all_again")}</button>`}
        <button disabled=${!through} onClick=${() => clear()}>${t("recognise.clear")}</button>
      </span>
    </div>
    ${through < uploads.length &&
    html`<progress max=${uploads.length} value=${through} aria-label=${t("recognise.progress")}></progress>`}
    <p class="unseen" role="status">
      ${through === uploads.length ? t("recognise.all_through", { count: through, failed }) : ""}
    </p>
    <div class="scroll" tabindex="0" role="region" aria-label=${t("recognise.table_label")}>
      <table>
        <thead>
          <tr>
            <th scope="col">${t("field.file")}</th>
            <th scope="col">${t("field.state")}</th>
            <th scope="col">${t("field.emotion")}</th>
            <th scope="col">${t("field.clip")}</th>
            <th scope="col">${t("field.duplicate_of")}</th>
            <th scope="col" class="n">${t("field.duration")}</th>
            <th scope="col"><span class="unseen">${t("recognise.what")}</span></th>
          </tr>
        </thead>
        <tbody>
          ${uploads.map((one) => html`<${Row} key=${one.id} upload=${one} shown=${one.id === shown} show=${show} />`)}
        </tbody>
      </table>
    </div>
  </section>`;
}

function Row({ upload, shown, show }) {
  const { id, file, state, answer, error } = upload;
  const words = error && inWords(error, state === "waiting");
  return html`<tr data-upload=${file.name} data-state=${state} aria-current=${shown ? "true" : undefined}>
    <th scope="row">${file.name} <span class="dim">${bytes(file.size)}</span></th>
    <td>
      ${t(`recognise.state_${state}`)}
      ${words &&
      html`<div class=${state === "failed" ? "note error" : "dim"} role=${state === "failed" ? "alert" : undefined}>
        <strong>${words.what}</strong> ${words.todo}
        ${words.detail && html`<div class="dim" lang="en">${words.detail}</div>`}
      </div>`}
    </td>
    <td>${answer && html`<${Emotion} label=${answer.emotion} share=${answer.confidence} />`}</td>
    <td>${answer && html`<a href=${address("clip", answer.clip_id)}>${String(answer.clip_id)}</a>`}</td>
    <td>${answer?.duplicate_of && html`<a href=${address("clip", answer.duplicate_of)}>${String(answer.duplicate_of)}</a>`}</td>
    <td class="n">${answer && duration(answer.duration)}</td>
    <td>
      <span class="buttons">
        ${answer &&
        html`<button class="small" aria-pressed=${String(shown)} onClick=${() => show(id)}>${t("recognise.show")}</button>`}
        ${state === "failed" && html`<button class="small" onClick=${() => again(id)}>${t("action.retry")}</button>`}
        ${state !== "sending" &&
        html`<button class="small" aria-label=${t("recognise.remove", { name: file.name })} onClick=${() => clear(id)}><${Icon} name="close" /></button>`}
      </span>
    </td>
  </tr>`;
}

const COLUMNS = ["file", "clip_id", "emotion", "confidence", ...LABELS, "duration", "duplicate_of", "duplicate_kind"];

/** A row for each clip, so two where the channels were split. */
function csv(uploads) {
  const rows = uploads.flatMap(({ file, answer, error }) => {
    const parts = answer ? [answer, ...Object.values(answer.channels ?? {})] : [{}];
    return parts.map((part) => {
      const { warnings = [] } = part;
      const said = { ...part, ...part.scores, file: file.name };
      return [...COLUMNS.map((name) => said[name]), warnings.join(" "), error?.type, error?.detail];
    });
  });
  const lines = [[...COLUMNS, "warnings", "error", "detail"], ...rows].map((row) => row.map(cell).join(","));
  return new Blob(["\ufeff", lines.join("\r\n"), "\r\n"], { type: "text/csv;charset=utf-8" });
}

/** A spreadsheet must not take a file's name for a formula. */
function cell(value) {
  if (typeof value === "number") return String(value);
  const text = String(value ?? "");
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
