// Light, dark, or as the system is; the choice stays in this browser.

import { say } from "./dom.js";

const KEY = "dagflow-theme";
const CHOICES = ["system", "light", "dark"];
const NAMES = { system: "Theme: system", light: "Theme: light", dark: "Theme: dark" };

export function offerThemes(button) {
  let choice = CHOICES.includes(localStorage.getItem(KEY)) ? localStorage.getItem(KEY) : "system";
  const show = () => {
    if (choice === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
    say(button, NAMES[choice]);
  };
  button.addEventListener("click", () => {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
    localStorage.setItem(KEY, choice);
    show();
  });
  show();
}
