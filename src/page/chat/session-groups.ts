/** Sorts the list of chats into Today, Yesterday, the last seven days and Older, newest first. Local time. */
import type { SessionSummary } from "../state/state.ts";

export interface SessionGroup {
  label: string;
  sessions: SessionSummary[];
}

/** Label and how many midnights back it begins. */
const GROUPS = [
  { label: "Today", numDays: 0 },
  { label: "Yesterday", numDays: 1 },
  { label: "Last 7 days", numDays: 7 },
  { label: "Older", numDays: Number.POSITIVE_INFINITY },
];

export function groupSessions(sessions: readonly SessionSummary[], nowMs: number): SessionGroup[] {
  const newestFirst = sessions.toSorted((a, b) => b.updatedAtMs - a.updatedAtMs);
  return GROUPS.map(({ label }, i) => ({
    label,
    sessions: newestFirst.filter(({ updatedAtMs }) => groupIndex(updatedAtMs, nowMs) === i),
  })).filter((group) => group.sessions.length > 0);
}

function groupIndex(atMs: number, nowMs: number): number {
  return GROUPS.findIndex(({ numDays }) => atMs >= midnightMs(nowMs, numDays));
}

function midnightMs(nowMs: number, numDaysBack: number): number {
  if (!Number.isFinite(numDaysBack)) return Number.NEGATIVE_INFINITY;
  const day = new Date(nowMs);
  // Through the calendar, since a day is not always 24 hours long.
  day.setDate(day.getDate() - numDaysBack);
  return day.setHours(0, 0, 0, 0);
}
