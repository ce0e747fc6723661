// Questions that must be answered first: is this really to be deleted, what is the key.

import { useEffect, useRef, useState } from "preact/hooks";
import { askForKeyWith } from "../api.js";
import { html } from "../html.js";
import { t } from "../language.js";
import { store } from "../store.js";

const question = store(null);
let turn = Promise.resolve(); // of the questions: one after the other

/** What the visitor answers; null where the question is put away. */
function asked(Form, values) {
  const before = document.activeElement;
  const answered = turn.then(
    () =>
      new Promise((resolve) => {
        question.set({
          Form,
          values,
          answer(value) {
            question.set(null);
            resolve(value);
            // What was pressed is disabled until the action is over, and could not take it before.
            setTimeout(() => document.activeElement === document.body && before?.focus(), 50);
          },
        });
      }),
  );
  turn = answered;
  return answered;
}

/** Whether the visitor agrees. `action` is the word on the button that does it. */
export const confirmed = (title, text, action) =>
  asked(Confirmation, { title, text, action }).then((value) => value === true);

askForKeyWith((wrong) => asked(KeyForm, { wrong }));

export function Dialogs() {
  const open = question.use();
  const dialog = useRef();
  useEffect(() => {
    if (open && !dialog.current.open) dialog.current.showModal();
    if (!open && dialog.current.open) dialog.current.close();
  }, [open]);
  useEffect(() => {
    // Whoever goes elsewhere has not agreed; the key is wanted there, too.
    const leave = () => question.get()?.Form === Confirmation && question.get().answer(null);
    addEventListener("hashchange", leave);
    return () => removeEventListener("hashchange", leave);
  }, []);
  return html`<dialog
    ref=${dialog}
    aria-labelledby="dialog-title"
    onCancel=${(event) => {
      event.preventDefault();
      open?.answer(null);
    }}
  >
    ${open && html`<${open.Form} ...${open.values} answer=${open.answer} />`}
  </dialog>`;
}

function Confirmation({ title, text, action, answer }) {
  return html`
    <h2 id="dialog-title">${title}</h2>
    <p>${text}</p>
    <p class="buttons">
      <button autofocus onClick=${() => answer(false)}>${t("action.cancel")}</button>
      <button class="danger" data-confirm onClick=${() => answer(true)}>${action}</button>
    </p>
  `;
}

function KeyForm({ wrong, answer }) {
  const [key, setKey] = useState("");
  const [keep, setKeep] = useState(false);
  return html`<form
    data-form="key"
    onSubmit=${(event) => {
      event.preventDefault();
      answer({ key: key.trim(), keep });
    }}
  >
    <h2 id="dialog-title">${t("key.title")}</h2>
    <p>${t(wrong ? "key.wrong" : "key.text")}</p>
    <label>
      ${t("key.label")}
      <input
        type="password"
        autocomplete="current-password"
        required
        autofocus
        pattern="[\\x21-\\x7e]+"
        value=${key}
        onInput=${(event) => setKey(event.currentTarget.value)}
      />
    </label>
    <label class="check">
      <input type="checkbox" checked=${keep} onChange=${(event) => setKeep(event.currentTarget.checked)} />
      ${t("key.keep")}
    </label>
    <p class="buttons">
      <button type="button" onClick=${() => answer(null)}>${t("action.cancel")}</button>
      <button class="main">${t("key.use")}</button>
    </p>
  </form>`;
}
