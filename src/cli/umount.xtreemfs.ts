#!/usr/lib/xos/bin/node
import { defineCommand } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';

export const command = defineCommand({
  name: 'umount.xtreemfs', section: 8,
  summary: 'take a volume of XtreemFS away from a directory',
  description: ['Undoes mount.xtreemfs(8); umount(8) does the same. The volume stays mounted at /grid.'],
  options: {
    lazy: { kind: 'flag', short: 'l', summary: 'take it out of sight now, and away when nobody uses it any more' },
    force: { kind: 'flag', short: 'f', summary: 'handed on to umount(8)' },
    'no-mtab': { kind: 'flag', short: 'n', summary: 'taken and without effect, as umount(8) hands it on' },
    verbose: { kind: 'flag', short: 'v', summary: 'say what is done' },
  },
  arguments: [{ name: 'DIR', summary: 'where it was mounted', complete: 'directory' }],
  run: async (call) => {
    const { lazy, force, verbose } = call.options;
    const { runProgram } = await import('./lib/program.ts');
    // -i: not by a helper, which we are.
    return await runProgram('umount', ['-i', ...(lazy ? ['-l'] : []), ...(force ? ['-f'] : []), ...(verbose ? ['-v'] : []), '--', call.args[0] ?? ''], call.signal);
  },
  exitStatus: [{ status: '0', meaning: 'done' }, { status: '2', meaning: 'the command line was not understood' }, { status: '32', meaning: 'umount(8) failed' }],
  seeAlso: [['mount.xtreemfs', 8], ['xos-mount', 8]],
});

await runIfMain(import.meta, command);
