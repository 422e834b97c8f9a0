#!/usr/lib/xos/bin/node
import { ask } from './lib/api.ts';
import { commonExitStatus, defineCommand, jsonOption, type Call } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';

export const command = defineCommand({
  name: 'lsfs.xtreemfs',
  summary: 'list the volumes of XtreemFS',
  description: ['One name a line; `xvolume list` and `xtfsutil status` tell more.'],
  options: { json: { ...jsonOption, summary: 'print all that is known of them as JSON' } },
  run: async (call) => {
    const { volumes } = await ask(call as Call, 'volume-list', {});
    if (call.options.json) return call.json(volumes);
    for (const { volume } of volumes) call.out.write(`${volume}\n`);
  },
  exitStatus: commonExitStatus,
  seeAlso: [['mkfs.xtreemfs', 8], ['rmfs.xtreemfs', 8], ['mount.xtreemfs', 8], ['xtfsutil', 1], ['xvolume', 1]],
});

await runIfMain(import.meta, command);
