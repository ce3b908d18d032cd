/** The part of C's strftime that chat templates use, in UTC and English, whatever the host's locale. */
const MONTHS = "January February March April May June July August September October November December".split(" ");
const DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");

/** Unknown directives stay as they are. */
export function strftime(timeMs: number, format: string): string {
  const date = new Date(timeMs);
  const month = MONTHS[date.getUTCMonth()]!;
  const day = DAYS[date.getUTCDay()]!;
  const hour = date.getUTCHours();
  const values: Record<string, string> = {
    Y: String(date.getUTCFullYear()),
    y: twoDigits(date.getUTCFullYear() % 100),
    m: twoDigits(date.getUTCMonth() + 1),
    d: twoDigits(date.getUTCDate()),
    B: month,
    b: month.slice(0, 3),
    A: day,
    a: day.slice(0, 3),
    H: twoDigits(hour),
    I: twoDigits(hour % 12 || 12),
    p: hour < 12 ? "AM" : "PM",
    M: twoDigits(date.getUTCMinutes()),
    S: twoDigits(date.getUTCSeconds()),
    "%": "%",
  };
  return format.replace(/%(.)/g, (directive, letter: string) => values[letter] ?? directive);
}

function twoDigits(value: number): string {
  return String(value).padStart(2, "0");
}
