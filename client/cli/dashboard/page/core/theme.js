// Dark or light: as the system has it, until a person chooses.
const listeners = new Set();
const system = matchMedia("(prefers-color-scheme: dark)");

export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : system.matches;
}

export function toggleTheme() {
  const next = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  store("theme", next);
  listeners.forEach((listener) => listener());
}

export function onTheme(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
system.addEventListener("change", () => listeners.forEach((listener) => listener()));

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function store(key, value) {
  try { localStorage.setItem(`insula.${key}`, value); } catch { /* private browsing: it lasts as long as the page */ }
}

export function stored(key) {
  try { return localStorage.getItem(`insula.${key}`); } catch { return null; }
}
