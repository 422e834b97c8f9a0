/** Bytes for people: `0`, `812K`, `1.5M`, `12G`; at most five characters. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  for (const unit of ['', 'K', 'M', 'G', 'T']) {
    if (value < 999.5) return unit === '' ? `${Math.round(value)}` : `${value < 9.95 ? value.toFixed(1) : Math.round(value)}${unit}`;
    value /= 1024;
  }
  return `${Math.round(value)}P`;
}

/** Seconds of CPU for people: `0.42`, `12.0`, `3:07`, `2:03:07`. */
export function formatCpu(seconds: number): string {
  if (seconds < 9.995) return seconds.toFixed(2);
  if (seconds < 59.95) return seconds.toFixed(1);
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (value: number): string => `${value}`.padStart(2, '0');
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** A point in time for people: `18:04:09` today, `Mar 01 18:04` otherwise (local time). */
export function formatTime(timeMs: number, nowMs: number): string {
  const [time, now] = [new Date(timeMs), new Date(nowMs)];
  const two = (value: number): string => `${value}`.padStart(2, '0');
  const clock = `${two(time.getHours())}:${two(time.getMinutes())}`;
  if (time.toDateString() === now.toDateString()) return `${clock}:${two(time.getSeconds())}`;
  const month = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'][time.getMonth()];
  return `${month} ${two(time.getDate())} ${clock}`;
}

/** Reads a size such as `256K`, `1M`, `4096` (binary units). Undefined when it is none. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?$/i.exec(text.trim());
  if (match === null) return undefined;
  const power = ['', 'K', 'M', 'G', 'T'].indexOf((match[2] ?? '').toUpperCase());
  return Math.round(Number(match[1]) * 1024 ** power);
}
