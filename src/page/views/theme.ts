/**
 * Light or dark: the system's choice until the reader makes one, which is remembered. Choosing what the system has
 * anyway follows the system again. `public/theme.js` applies the same rule before the first paint.
 */
import { byId, icon } from "./dom.ts";

const THEME_KEY = "runnel.theme";

type Theme = "light" | "dark";

export function attachTheme(storage: Storage | null): void {
  const toggle = byId("theme", HTMLButtonElement);
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const systemTheme = (): Theme => (system.matches ? "dark" : "light");
  const shownTheme = (): Theme => (root.dataset.theme === "dark" ? "dark" : "light");
  let isChosen = shownTheme() !== systemTheme();

  const show = (theme: Theme) => {
    root.dataset.theme = theme;
    toggle.setAttribute("aria-pressed", String(theme === "dark"));
    toggle.replaceChildren(icon(theme === "dark" ? "sun" : "moon"));
    const background = getComputedStyle(root).getPropertyValue("--background").trim();
    document.querySelector('meta[name="theme-color"]')?.setAttribute("content", background);
  };

  show(shownTheme());
  toggle.addEventListener("click", () => {
    const theme: Theme = shownTheme() === "dark" ? "light" : "dark";
    isChosen = theme !== systemTheme();
    show(theme);
    try {
      if (isChosen) storage?.setItem(THEME_KEY, theme);
      else storage?.removeItem(THEME_KEY);
    } catch {
      // Storage is full or forbidden: the choice lasts as long as the page.
    }
  });
  system.addEventListener("change", () => {
    if (!isChosen) show(systemTheme());
  });
}
