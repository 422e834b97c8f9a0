#!/usr/lib/xos/bin/node
import { defineCommand, type Call } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';
import { UsageError } from './lib/parse.ts';

/** How long the file system may take to come up, at boot for instance; the option `wait=SECONDS` changes it. */
const wait_s = 60;
const poll_ms = 100;

export const command = defineCommand({
  name: 'mount.xtreemfs', section: 8,
  summary: 'show a volume of XtreemFS at a directory of your choice',
  description: [
    'All volumes of a VO are mounted at /grid/VO by xos-mount(8); this shows one of them at DIR as well (a bind mount: one cache for both). `mount -t xtreemfs` and /etc/fstab come here.',
    'SOURCE is VO/VOLUME, or VO/VOLUME/DIRECTORY for a part of one. It waits until the volume is there: an entry in /etc/fstab should have the option `_netdev`, and `nofail` unless the machine is of no use without.',
    'Volumes are always nosuid and nodev.',
  ],
  synopsis: ['SOURCE DIR [-o OPTIONS]'],
  options: {
    options: { kind: 'list', short: 'o', value: 'OPTIONS', summary: 'mount options: ro, noexec and others of mount(8); wait=SECONDS (default 60) for the volume to be there' },
    'read-only': { kind: 'flag', short: 'r', summary: 'the same as -o ro' },
    'read-write': { kind: 'flag', short: 'w', summary: 'the same as -o rw' },
    'no-mtab': { kind: 'flag', short: 'n', summary: 'taken and without effect, as mount(8) hands it on' },
    sloppy: { kind: 'flag', short: 's', summary: 'the same' },
    verbose: { kind: 'flag', short: 'v', summary: 'say what is mounted' },
    fake: { kind: 'flag', short: 'f', summary: 'check only, mount nothing' },
    namespace: { kind: 'text', short: 'N', value: 'NAMESPACE', summary: 'mount namespace, handed on to mount(8)' },
    types: { kind: 'text', short: 't', value: 'TYPE', summary: 'taken and without effect' },
  },
  arguments: [{ name: 'SOURCE', summary: 'VO/VOLUME' }, { name: 'DIR', summary: 'where it appears', complete: 'directory' }],
  run: async (call) => {
    const [source = '', target = ''] = call.args;
    const given = call.options.options.flatMap((each) => each.split(',')).filter((each) => each !== '');
    const wait = given.find((each) => each.startsWith('wait='))?.slice(5);
    if (wait !== undefined && !/^\d{1,5}$/.test(wait)) throw new UsageError(`mount option 'wait=${wait}' must be a number of seconds`);
    const { point, path } = placeOf(call.env['XOS_GRID'] ?? '/grid', source);
    const options = [...given.filter((each) => !each.startsWith('wait=')), ...(call.options['read-only'] ? ['ro'] : []), ...(call.options['read-write'] ? ['rw'] : [])];
    await waitUntilMounted(call as Call, source, { point, path }, Number(wait ?? wait_s) * 1000);
    const words = ['--bind', ...(options.length > 0 ? ['-o', options.join(',')] : []), ...(call.options.fake ? ['--fake'] : []),
      ...(call.options.namespace === undefined ? [] : ['-N', call.options.namespace]), '--', path, target];
    if (call.options.verbose) call.note(`mount ${words.join(' ')}`);
    const { runProgram } = await import('./lib/program.ts');
    return await runProgram('mount', words, call.signal);
  },
  files: [{ name: '/grid/VO/VOLUME', summary: 'The volumes.' }],
  examples: [
    { text: 'a volume read-only', line: 'mount -t xtreemfs -o ro demo/data /mnt' },
    { text: 'in /etc/fstab', line: 'demo/data  /srv/data  xtreemfs  _netdev,nofail  0  0' },
  ],
  exitStatus: [{ status: '0', meaning: 'mounted' }, { status: '1', meaning: 'the volume is not there, or the reason that mount(8) tells' }, { status: '2', meaning: 'the command line was not understood' }, { status: '32', meaning: 'mount(8) failed' }],
  seeAlso: [['umount.xtreemfs', 8], ['mkfs.xtreemfs', 8], ['lsfs.xtreemfs', 1], ['xos-mount', 8]],
});

/** `demo/data` → the mount of the VO at /grid/demo, and /grid/demo/data. */
function placeOf(grid: string, source: string): { readonly point: string; readonly path: string } {
  const parts = source.replace(/^\/+/, '').replace(/\/+$/, '').split('/');
  if (parts.length < 2 || parts.some((part) => part === '' || part === '.' || part === '..')) throw new UsageError(`source '${source}' must be VO/VOLUME, such as demo/data`);
  return { point: `${grid}/${parts[0] ?? ''}`, path: `${grid}/${parts.join('/')}` };
}

/** Resolves when the volume is seen below a mounted file system of ours. */
async function waitUntilMounted(call: Call, source: string, { point, path }: { readonly point: string; readonly path: string }, wait_ms: number): Promise<void> {
  const [{ readFile, stat }, { setTimeout: sleep }, { XosError }] = await Promise.all([import('node:fs/promises'), import('node:timers/promises'), import('../core/errors.ts')]);
  const ends = performance.now() + wait_ms;
  for (;;) {
    const mounted = (await readFile('/proc/self/mounts', 'utf8')).split('\n').some((line) => line.split(' ')[1] === point && line.split(' ')[2] === 'fuse.xtreemfs');
    const reason = !mounted ? `no VO is mounted at '${point}'` : await stat(path).then((facts) => (facts.isDirectory() ? null : 'it is no directory'), (cause: unknown) => (cause as Error).message);
    if (reason === null) return;
    if (performance.now() >= ends) {
      throw new XosError('XOS_UNAVAILABLE', `cannot mount '${source}' after waiting ${Math.round(wait_ms / 1000)} s: ${reason}; 'xnode' shows the services of this node, 'lsfs.xtreemfs' the volumes`, { source });
    }
    await sleep(poll_ms, undefined, { signal: call.signal });
  }
}

await runIfMain(import.meta, command);
