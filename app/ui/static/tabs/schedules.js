// Schedules: when reports are made by themselves.

import { useId, useState } from "preact/hooks";
import { get, patch, post, remove } from "../api.js";
import { confirmed } from "../components/dialogs.js";
import { ErrorNote, Loaded, tell } from "../components/notes.js";
import { FilterTags } from "../components/filter_words.js";
import { DAYS_OF_MONTH, RHYTHMS, WEEKDAYS, cronInWords, cronOf, weekdayName } from "../cron.js";
import { html } from "../html.js";
import { instant, t } from "../language.js";
import { useAction, useLoad } from "../loading.js";
import { NOTHING, ReportFields, inReport } from "./report_form.js";

export function Schedules() {
  const [adding, setAdding] = useState(false);
  const found = useLoad((signal) => get("/schedules", {}, { signal }), []);
  const added = () => {
    setAdding(false);
    found.reload();
  };
  return html`<section class="card" aria-labelledby="schedules">
    <div class="row spread">
      <h2 id="schedules">${t("reports.schedules")}</h2>
      <button data-add="schedule" aria-expanded=${String(adding)} onClick=${() => setAdding(!adding)}>
        ${t("reports.add")}
      </button>
    </div>
    <p class="dim">${t("reports.schedules_mean")}</p>
    ${adding && html`<${AddSchedule} added=${added} />`}
    <${Loaded} from=${found}>
      ${({ schedules }) =>
        schedules.length
          ? html`<${ScheduleTable} schedules=${schedules} reload=${found.reload} />`
          : html`<p class="dim">${t("reports.no_schedules")}</p>`}
    <//>
  </section>`;
}

function ScheduleTable({ schedules, reload }) {
  const [forget, forgetting] = useAction(async ({ id, name }) => {
    const agreed = await confirmed(
      t("reports.delete_schedule_title", { name }),
      t("reports.delete_schedule_text"),
      t("action.delete"),
    );
    if (!agreed) return;
    await remove(`/schedules/${id}`);
    tell(t("reports.schedule_deleted"));
    reload();
  });
  const [enable, enabling] = useAction(async ({ id, name }, enabled) => {
    try {
      await patch(`/schedules/${id}`, { enabled });
      tell(t(enabled ? "reports.switched_on" : "reports.switched_off", { name }));
    } finally {
      reload(); // also where it was refused: the box shows what is
    }
  });
  return html`
    <${ErrorNote} error=${forgetting.error ?? enabling.error} />
    <div class="scroll" tabindex="0" role="region" aria-labelledby="schedules">
      <table>
        <thead>
          <tr>
            <th scope="col">${t("reports.name")}</th>
            <th scope="col">${t("reports.when")}</th>
            <th scope="col">${t("reports.next_run")}</th>
            <th scope="col">${t("reports.last_run")}</th>
            <th scope="col">${t("reports.enabled")}</th>
            <th scope="col"><span class="unseen">${t("action.delete")}</span></th>
          </tr>
        </thead>
        <tbody>
          ${schedules.map(
            (one) => html`<tr key=${one.id} data-schedule=${one.id}>
              <th scope="row">${one.name} <${FilterTags} filters=${one.filters} /></th>
              <td>${cronInWords(one.cron) ?? html`<code>${one.cron}</code>`} (${one.time_zone})</td>
              <td>${instant(one.next_run)}</td>
              <td>${instant(one.last_run)}</td>
              <td>
                <input
                  type="checkbox"
                  role="switch"
                  name="enabled"
                  aria-label=${t("reports.enabled_this", { name: one.name })}
                  checked=${one.enabled}
                  disabled=${enabling.busy}
                  onChange=${(event) => enable(one, event.currentTarget.checked)}
                />
              </td>
              <td>
                <button
                  class="small danger"
                  aria-label=${t("reports.delete_this", { name: one.name })}
                  disabled=${forgetting.busy}
                  onClick=${() => forget(one)}
                >
                  ${t("action.delete")}
                </button>
              </td>
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
  `;
}

function AddSchedule({ added }) {
  const zones = useId();
  const [draft, setDraft] = useState(NOTHING);
  const [when, setWhen] = useState({
    rhythm: "week",
    time: "07:00",
    weekday: "MON",
    day: "1",
    cron: "",
    zone: Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC",
  });
  const own = when.rhythm === "own";
  const change = (name) => (event) => setWhen({ ...when, [name]: event.currentTarget.value });
  const select = (name, options) => html`<label>
    ${t(`reports.${name}`)}
    <select name=${name} value=${when[name]} onChange=${change(name)}>
      ${options.map(([value, words]) => html`<option value=${value}>${words}</option>`)}
    </select>
  </label>`;
  const [add, adding] = useAction(async () => {
    const cron = own ? when.cron.trim() : cronOf(when);
    const { name } = await post("/schedules", { ...inReport(draft), cron, time_zone: when.zone.trim() });
    tell(t("reports.schedule_added", { name }));
    added();
  });
  return html`<form
    data-form="schedule"
    aria-label=${t("reports.add")}
    onSubmit=${(event) => {
      event.preventDefault();
      add();
    }}
  >
    <${ReportFields} draft=${draft} onChange=${setDraft} period=${false}>
      ${select("rhythm", [...Object.keys(RHYTHMS), "own"].map((one) => [one, t(`reports.rhythms.${one}`)]))}
      ${when.rhythm === "week" && select("weekday", WEEKDAYS.map((one) => [one, weekdayName(one)]))}
      ${when.rhythm === "month" && select("day", DAYS_OF_MONTH.map((one) => [one, one]))}
      ${own
        ? html`<label>
            ${t("reports.cron_expression")}
            <input name="cron" required maxlength="200" placeholder="0 7 * * MON" value=${when.cron} onInput=${change("cron")} />
          </label>`
        : html`<label>
            ${t("reports.time")}
            <input type="time" name="time" required value=${when.time} onInput=${change("time")} />
          </label>`}
      <label>
        ${t("reports.zone")}
        <input name="zone" required maxlength="100" list=${zones} value=${when.zone} onInput=${change("zone")} />
        <datalist id=${zones}>
          ${(Intl.supportedValuesOf?.("timeZone") ?? ["UTC"]).map((one) => html`<option value=${one} />`)}
        </datalist>
      </label>
    <//>
    ${own && html`<p class="dim">${t("reports.cron_hint")}</p>`}
    <p class="buttons"><button class="main" disabled=${adding.busy}>${t("reports.add_action")}</button></p>
    <${ErrorNote} error=${adding.error} />
  </form>`;
}
