// Numbers as people read them.

const counts = new Intl.NumberFormat("en-US");

export const count = (number) => (number === null ? "–" : counts.format(Math.round(number)));

export function rate(perSecond) {
  if (perSecond === null) return "–";
  return `${perSecond >= 99.95 ? count(perSecond) : threeDigits(perSecond)}/s`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.9995e-3) return `${threeDigits(seconds * 1e6)}µs`;
  if (seconds < 0.9995) return `${threeDigits(seconds * 1e3)}ms`;
  if (seconds < 99.95) return `${threeDigits(seconds)}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 < 1 ? `${minutes}min` : `${minutes}min ${Math.floor(seconds % 60)}s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours}h ${minutes % 60}min` : `${Math.floor(hours / 24)}d ${hours % 24}h`;
}

/** A time that goes by, in whole seconds at least. */
export const age = (seconds) => (seconds < 99.95 ? `${Math.floor(seconds)}s` : duration(seconds));

export const share = (part, whole) => (whole ? `${threeDigits((100 * part) / whole)} %` : "–");

export const money = (amount) => (amount >= 100 ? count(amount) : amount.toFixed(amount >= 1 ? 2 : 4));

export const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

function threeDigits(number) {
  const digits = number < 9.995 ? 2 : number < 99.95 ? 1 : 0;
  return digits ? number.toFixed(digits).replace(/\.?0+$/, "") : counts.format(Math.round(number));
}
