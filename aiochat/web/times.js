// Times and days as people say them, in their own language and time zone.

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const date = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const LATEST = 8.64e15; // the last moment that a Date knows

/** "12:04" */
export function clockTime(ts) {
  return clock.format(moment(ts));
}

/** The moment in full, for a title. */
export function wholeTime(ts) {
  return whole.format(moment(ts));
}

/** The moment for a machine. */
export function machineTime(ts) {
  return moment(ts).toISOString();
}

/** The same for two moments of one day. */
export function dayOf(ts) {
  return moment(ts).toDateString();
}

/** "Today", "Yesterday", or the date. */
export function dayName(ts, now = Date.now()) {
  const day = dayOf(ts);
  if (day === dayOf(now)) return "Today";
  const yesterday = new Date(now);
  yesterday.setDate(yesterday.getDate() - 1);
  return day === yesterday.toDateString() ? "Yesterday" : date.format(moment(ts));
}

function moment(ts) {
  return new Date(Math.min(Math.max(ts, 0), LATEST));
}
