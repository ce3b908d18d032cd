/** The operator's page: asks for the numbers every few seconds while somebody looks, with the token that was entered. */
import { keyedFetch, usableKey } from "../net/access.ts";
import { byId, setText } from "../views/dom.ts";
import { attachTheme } from "../views/theme.ts";
import { DashboardView } from "./dashboard-view.ts";
import { seriesOf, type WireHistory } from "./history.ts";

const REFRESH_MS = 5_000;
const TOKEN_KEY = "runnel.metrics-token";

const view = new DashboardView();
const status = byId("status", HTMLParagraphElement);
const form = byId("token-form", HTMLFormElement);
const input = byId("token", HTMLInputElement);
const storage = storageIfAllowed();
let token = readToken();

const ask = keyedFetch(
  fetch.bind(window),
  () => token,
  () => {
    form.hidden = false;
  },
);

attachTheme(storage);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  token = usableKey(input.value);
  input.value = "";
  keepToken();
  form.hidden = true;
  void refresh();
});
document.addEventListener("visibilitychange", () => void refresh());
setInterval(() => void refresh(), REFRESH_MS);
void refresh();

async function refresh(): Promise<void> {
  if (document.visibilityState !== "visible") return;
  try {
    const response = await ask("/metrics/history");
    if (!response.ok) return setText(status, await reasonOf(response));
    view.render(seriesOf((await response.json()) as WireHistory));
    setText(status, `Live, every ${REFRESH_MS / 1000} seconds. All models and isolates together.`);
  } catch {
    setText(status, "The server can’t be reached. The page keeps trying.");
  }
}

async function reasonOf(response: Response): Promise<string> {
  try {
    return ((await response.json()) as { error: { message: string } }).error.message;
  } catch {
    return `The server answered with status ${response.status}.`;
  }
}

function readToken(): string | null {
  try {
    return storage?.getItem(TOKEN_KEY) ?? null;
  } catch {
    return null;
  }
}

function keepToken(): void {
  try {
    if (token === null) storage?.removeItem(TOKEN_KEY);
    else storage?.setItem(TOKEN_KEY, token);
  } catch {
    // Full or forbidden: it lasts as long as the page.
  }
}

function storageIfAllowed(): Storage | null {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}
