// Runs before the first paint, so that a chosen theme never flashes the other one. Classic script: modules run later.
// `src/page/views/theme.ts` changes the choice.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("runnel.theme");
  } catch {
    // Storage is forbidden: follow the system.
  }
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
