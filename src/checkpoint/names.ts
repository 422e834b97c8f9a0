import type { Disk } from '../core/ports.ts';
import { badName } from './errors.ts';
import { limits } from './limits.ts';
import { isKeptName, kept_prefix } from './protect/kept.ts';

const pattern = /^[A-Za-z0-9][A-Za-z0-9._+-]*$/;

/** A name is a directory of its own below the user's checkpoints. Throws XOS_BAD_NAME. */
export function parseCheckpointName(value: unknown): string {
  if (typeof value !== 'string') throw badName(typeof value, 'it must be a text');
  if (value.length > limits.name_characters_max) throw badName(value, `it has more than ${limits.name_characters_max} characters`);
  if (!pattern.test(value)) throw badName(value, 'a letter or digit first, then letters, digits and ". _ + -"');
  return value;
}

/** A name for a checkpoint that a user makes. Throws XOS_BAD_NAME. */
export function parseNewName(value: unknown): string {
  const name = parseCheckpointName(value);
  if (isKeptName(name)) throw badName(name, `names that begin with '${kept_prefix}' are for the checkpoints of protected jobs`);
  return name;
}

/** Where a user's checkpoints are, on every node. */
export const checkpointsOf = (home: string): string => `${home}/.xos/checkpoints`;

/**
 * What a job is while it is being moved: a checkpoint that is removed when it runs again, and that `xrestart` takes should it run nowhere.
 * @param names those that there are. None is used again: a node that was lost in the middle of an earlier move leaves its half, and may even write on.
 */
export function movingName(job: string, names: readonly string[]): string {
  const base = `moving-${job}`;
  if (!names.includes(base)) return base;
  let number = 2;
  while (names.includes(`${base}+${number}`)) number++;
  return `${base}+${number}`;
}

/** `<program>-<job>-<n>`: the first n that is free. */
export async function defaultName(disk: Pick<Disk, 'list'>, directory: string, program: string, job: string): Promise<string> {
  const plain = program.replace(/^.*\//, '').replace(/[^A-Za-z0-9._+-]/g, '_').replace(/^[^A-Za-z0-9]+/, '').slice(0, limits.program_characters_max);
  const base = `${plain === '' || isKeptName(plain) ? 'job' : plain}-${job}-`;
  const taken = (await disk.list(directory)).flatMap((name) => (name.startsWith(base) ? Number(name.slice(base.length)) : [])).filter(Number.isInteger);
  return `${base}${Math.max(0, ...taken) + 1}`;
}
