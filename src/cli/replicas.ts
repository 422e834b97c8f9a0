import type { ReplicasRequest, ReplicasRow } from '../api/operations/volume.ts';
import { ask } from './lib/api.ts';
import { jsonOption, type Call, type Command } from './lib/command.ts';
import { UsageError } from './lib/parse.ts';
import { startProgress } from './lib/progress.ts';
import { formatBytes } from './lib/units.ts';
import { objectAt, pathArgument } from './objects.ts';

const stateText: Readonly<Record<string, string>> = { making: ' (being made)', dropping: ' (going)', behind: ' (behind)' };

/** Where the copies of a file are, and how far the one is that is being made. */
export function replicasText({ copies, running, bytes, bytes_total, reason }: ReplicasRow): string {
  const places = copies.map(({ state, osds }) => `${osds.map(({ osd, up }) => `${osd}${up ? '' : ' (down)'}`).join('+')}${stateText[state] ?? ''}`);
  const far = running ? `; ${formatBytes(bytes)} of ${formatBytes(bytes_total)} copied` : reason === '' || isSettled({ copies }) ? '' : `; it is tried again: ${reason}`;
  return `${places.join(', ')}${far}`;
}

const isSettled = ({ copies }: Pick<ReplicasRow, 'copies'>): boolean => copies.every(({ state }) => state === 'whole');

const replicateOptions = {
  count: { kind: 'number', value: 'N', integer: true, min: 1, max: 16, summary: 'keep so many copies; 1 drops all replicas, and the file may be changed again' },
  to: { kind: 'text', value: 'OSD', complete: 'node', summary: 'one copy more, at this object server; `auto`: where there is most room' },
  drop: { kind: 'text', value: 'OSD', complete: 'node', summary: 'drop the copy at this object server' },
  background: { kind: 'flag', short: 'b', summary: 'do not wait for the end' },
  json: jsonOption,
} as const;
export const replicate: Command<typeof replicateOptions> = {
  name: 'replicate', summary: 'keep a file in several copies, or show them',
  description: [
    'A file with replicas is not changed any more: opening it for writing fails with `EROFS` until the last replica is dropped. It can be renamed and removed. A reader takes the replica that is on his node, or one that is there: when an object server dies, he goes on with another one. A block that is found corrupt is mended from another replica.',
    'Each object server has one copy at most. The metadata server makes the copies, also after a restart; `^C` ends the waiting only. Limits of users and volumes count every copy.',
    'Dropping the last replica waits for the server that has it: while that is away somebody could still read there what was before. For the owner of the file, and for administrators of the VO.',
    'The names of before are understood as well: `--add-replica auto|OSD`, `--delete-replica OSD` and `--set-replication-policy none`, before the file, and the file alone, which shows it. Copies that are written to are a policy: `xtfsutil set --replication`, or `--set-drp --replication-policy quorum --replication-factor 3`.',
  ],
  options: replicateOptions, arguments: [pathArgument],
  run: async (call) => {
    const { json, background } = call.options;
    const { inode } = await objectAt(call.args[0] ?? '');
    const status: ReplicasRequest = { inode, action: 'status' };
    const asked = await wanted(call, inode);
    const progress = startProgress(call.err);
    try {
      let now = await ask(call as Call, 'volume-replicas', asked ?? status, { timeout_ms: 60_000 });
      const { setTimeout: sleep } = await import('node:timers/promises');
      while (asked !== null && !background && !isSettled(now)) {
        progress.update(replicasText(now));
        await sleep(200, undefined, { signal: call.signal });
        now = await ask(call as Call, 'volume-replicas', status, { timeout_ms: 60_000 });
      }
      progress.stop();
      if (json) call.json(now);
      else call.out.write(`${now.copies.length === 1 ? 'no replicas' : replicasText(now)}\n`);
    } finally {
      progress.stop();
    }
  },
};

/** What the options ask for; null: nothing is to be changed. */
async function wanted(call: Call<typeof replicateOptions>, inode: number): Promise<ReplicasRequest | null> {
  const { count, to, drop } = call.options;
  if ([count, to, drop].filter((each) => each !== undefined).length > 1) throw new UsageError('only one of --count, --to and --drop can be done at a time');
  if (count !== undefined) return { inode, action: 'count', count };
  if (drop !== undefined) return { inode, action: 'drop', osd: drop };
  if (to === undefined) return null;
  if (to !== 'auto') return { inode, action: 'add', osd: to };
  const { copies } = await ask(call as Call, 'volume-replicas', { inode, action: 'status' });
  return { inode, action: 'count', count: copies.filter(({ state }) => state !== 'dropping').length + 1 };
}

/** The command line as XtreemFS had it: options about replicas or snapshots before the path, or the path alone. */
export function withOldNames(argv: readonly string[]): readonly string[] {
  const [first = '', value = '', ...rest] = argv;
  const name = first.split('=', 1)[0] ?? '';
  const inline = first.length > name.length ? first.slice(name.length + 1) : null;
  const after = inline === null ? rest : argv.slice(1);
  const of = inline ?? value;
  switch (name) {
    case '-a':
    case '--add-replica': return ['replicate', '--to', of.toLowerCase() === 'auto' ? 'auto' : of, ...after];
    case '-d':
    case '--delete-replica': return ['replicate', '--drop', of, ...after];
    case '-r':
    case '--set-replication-policy':
      if (of === 'quorum' || of === 'all') return ['set', '--replication', of, ...after];
      if (of !== 'none') throw new UsageError(`there is no replication policy '${of}' to be set: quorum and all are for files that are made from then on; a file becomes read-only with its first replica (--add-replica), and is written again without one (none)`);
      return ['replicate', '--count', '1', ...after];
    case '--set-drp': return ['set', ...argv.slice(1).map(newOption)];
    case '--create-snapshot': return ['snapshot', 'create', ...pathFirst(after, of)];
    case '--delete-snapshot': return ['snapshot', 'rm', ...pathFirst(after, of)];
    case '--list-snapshots': return ['snapshot', 'ls', ...argv.slice(1)];
    default: return argv.length > 0 && first.includes('/') ? ['show', ...argv] : argv;
  }
}

/** An option of `--set-drp`, the default policy for replicas of what is made in a directory. */
function newOption(option: string): string {
  return option.replace(/^--replication-policy(?==|$)/, '--replication').replace(/^--replication-factor(?==|$)/, '--replicas');
}

const pathFirst = ([path, ...rest]: readonly string[], name: string): readonly string[] => [...(path === undefined ? [] : [path]), name, ...rest];
