import type { Disk } from '../core/ports.ts';
import { badName } from './errors.ts';
import { limits } from './limits.ts';

const pattern = /^[A-Za-z0-9][A-Za-z0-9._+-]*$/;

/** A name is a directory of its own below the user's checkpoints. Throws XOS_BAD_NAME. */
export function parseCheckpointName(value: unknown): string {
  if (typeof value !== 'string') throw badName(typeof value, 'it must be a text');
  if (value.length > limits.name_characters_max) throw badName(value, `it has more than ${limits.name_characters_max} characters`);
  if (!pattern.test(value)) throw badName(value, 'a letter or digit first, then letters, digits and ". _ + -"');
  return value;
}

/** Where a user's checkpoints are, on every node. */
export const checkpointsOf = (home: string): string => `${home}/.xos/checkpoints`;

/** What a job is while it is being moved: a checkpoint that is removed when it runs again, and that `xrestart` takes should it run nowhere. */
export const movingName = (job: string): string => `moving-${job}`;

/** `<program>-<job>-<n>`: the first n that is free. */
export async function defaultName(disk: Pick<Disk, 'list'>, directory: string, program: string, job: string): Promise<string> {
  const plain = program.replace(/^.*\//, '').replace(/[^A-Za-z0-9._+-]/g, '_').replace(/^[^A-Za-z0-9]+/, '').slice(0, limits.program_characters_max);
  const base = `${plain === '' ? 'job' : plain}-${job}-`;
  const taken = (await disk.list(directory)).flatMap((name) => (name.startsWith(base) ? Number(name.slice(base.length)) : [])).filter(Number.isInteger);
  return `${base}${Math.max(0, ...taken) + 1}`;
}
