import { readFileSync } from 'node:fs';

/** The type of a key by its number; null when this process may not see it, or it is gone. Source: proc_keys(5). */
export function keyType(key: number): string | null {
  const number = key.toString(16).padStart(8, '0');
  for (const line of readFileSync('/proc/keys', 'utf8').split('\n')) {
    if (line.startsWith(`${number} `)) return line.trim().split(/\s+/)[7]?.replace(/:$/, '') ?? null;
  }
  return null;
}
