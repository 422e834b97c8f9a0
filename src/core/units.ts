import { XosError } from './errors.ts';

export const second_ms = 1_000;
export const minute_ms = 60 * second_ms;
export const hour_ms = 60 * minute_ms;
export const day_ms = 24 * hour_ms;
export const kib = 1024;
export const mib = 1024 * kib;
export const gib = 1024 * mib;

/** `90`, `90s`, `15m`, `8h`, `7d`, `250ms` → milliseconds (a bare number is seconds). Throws XOS_BAD_ARGUMENT. */
export function parseDuration(text: string): number {
  const match = /^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)?$/.exec(text);
  const unit_ms = { ms: 1, s: second_ms, m: minute_ms, h: hour_ms, d: day_ms };
  if (match === null) throw new XosError('XOS_BAD_ARGUMENT', `duration '${text}' is not valid: write a number with ms, s, m, h or d`);
  return Math.round(Number(match[1]) * unit_ms[(match[2] ?? 's') as keyof typeof unit_ms]);
}

/** 1536 → '1.5 KiB'. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** Milliseconds in the largest two units: '2 h 5 min', '3 d 4 h', '12 s', '40 ms'. */
export function formatDuration(ms: number): string {
  if (ms < second_ms) return `${Math.round(ms)} ms`;
  const steps = [[day_ms, 'd'], [hour_ms, 'h'], [minute_ms, 'min'], [second_ms, 's']] as const;
  const parts: string[] = [];
  let rest = ms;
  for (const [size, name] of steps) {
    if (parts.length === 2) break;
    const count = Math.floor(rest / size);
    if (count > 0) parts.push(`${count} ${name}`);
    else if (parts.length > 0) break;
    rest -= count * size;
  }
  return parts.join(' ');
}
