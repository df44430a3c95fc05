// The one dialog of the page: to ask before something is done, and to show something whole.

import { byId, h } from "./dom.js";

/** Ask; gives whether the answer was yes. The harmless answer has the focus. */
export function ask(title, yes, tone, ...content) {
  const button = (value, text, style) => h("button", { type: "submit", value, class: style }, text);
  return opened(title, content, button("no", "Cancel", ""), button("yes", yes, tone));
}

/** Show something until it is closed. */
export function tell(title, ...content) {
  return opened(title, content, h("button", { type: "submit", value: "no" }, "Close"));
}

function opened(title, content, ...buttons) {
  const dialog = byId("dialog");
  const form = h("form", { method: "dialog" }, h("h2", { id: "dialog-title" }, title), ...content.filter(Boolean), h("div", { class: "row" }, ...buttons));
  dialog.replaceChildren(form);
  dialog.returnValue = "no";
  dialog.showModal();
  buttons[0].focus();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
  });
}
