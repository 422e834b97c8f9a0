import { constants } from 'node:os';
import { UsageError } from './parse.ts';

/** `9`, `KILL`, `SIGKILL`, `sigkill` → 9; 0 asks only whether the job is there. Throws UsageError. */
export function parseSignal(text: string): number {
  if (/^[0-9]{1,2}$/.test(text) && Number(text) <= 64) return Number(text);
  const name = text.toUpperCase();
  const number = (constants.signals as Record<string, number | undefined>)[name.startsWith('SIG') ? name : `SIG${name}`];
  if (number === undefined) throw new UsageError(`there is no signal '${text}'; 'xkill --list' names them`);
  return number;
}

/** 9 → `KILL`; a number without a name stays one. */
export function signalName(number: number): string {
  const found = Object.entries(constants.signals).find(([, value]) => value === number);
  return found === undefined ? `${number}` : found[0].slice(3);
}

/** Numbers and names of all signals, in order. */
export function signalList(): readonly (readonly [number, string])[] {
  const names = new Map<number, string>();
  for (const [name, number] of Object.entries(constants.signals)) if (!names.has(number)) names.set(number, name.slice(3));
  return [...names].sort((a, b) => a[0] - b[0]);
}
