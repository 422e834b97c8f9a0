#!/usr/lib/xos/bin/node
import { ask } from './lib/api.ts';
import { commonExitStatus, defineCommand, type Call } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';
import { UsageError } from './lib/parse.ts';
import { volumeArgument } from './lib/volume.ts';

export const command = defineCommand({
  name: 'rmfs.xtreemfs', section: 8,
  summary: 'remove a volume of XtreemFS with all that is in it',
  description: ['Takes the role `admin` in the VO, or root on a node. Nothing brings the files back.'],
  options: { force: { kind: 'flag', short: 'f', summary: 'do not ask: all files of the volume are gone for good' } },
  arguments: [volumeArgument],
  run: async (call) => {
    const volume = call.args[0] ?? '';
    if (!call.options.force) throw new UsageError(`this removes volume '${volume}' with all its files; say --force if that is meant`);
    await ask(call as Call, 'volume-remove', { volume });
  },
  exitStatus: commonExitStatus,
  seeAlso: [['mkfs.xtreemfs', 8], ['lsfs.xtreemfs', 1], ['xvolume', 1]],
});

await runIfMain(import.meta, command);
