#!/usr/lib/xos/bin/node
import { ask } from './lib/api.ts';
import { commonExitStatus, defineCommand, jsonOption, type Call } from './lib/command.ts';
import { runIfMain } from './lib/main.ts';
import { UsageError } from './lib/parse.ts';
import { askedPolicy, bytesOption, policyOptions, volumeArgument } from './lib/volume.ts';

export const command = defineCommand({
  name: 'mkfs.xtreemfs', section: 8,
  summary: 'make a volume of XtreemFS',
  description: ['Takes the role `admin` in the VO, or root on a node. The volume appears at /grid/VO/VOLUME on every node. It is what `xvolume create` does, under the name that users of XtreemFS know.'],
  options: {
    owner: { kind: 'text', value: 'USER', summary: 'member who owns the root directory; you, when absent' },
    mode: { kind: 'text', value: 'BITS', summary: 'permission bits of the root directory, octal (default 700)' },
    ...policyOptions,
    quota: { kind: 'text', value: 'SIZE', summary: 'limit of all files together' },
    json: jsonOption,
  },
  arguments: [{ ...volumeArgument, complete: 'none' }],
  run: async (call) => {
    const { owner, mode, json } = call.options;
    if (mode !== undefined && !/^[0-7]{3,4}$/.test(mode)) throw new UsageError(`option '--mode' is '${mode}': it must be three or four octal digits`);
    const [policy, bytes_max] = [askedPolicy(call.options), bytesOption('quota', call.options.quota)];
    const { volume } = await ask(call as Call, 'volume-create', {
      volume: call.args[0] ?? '', policy, ...(owner === undefined ? {} : { owner }), ...(mode === undefined ? {} : { mode: Number.parseInt(mode, 8) }),
    });
    if (bytes_max !== undefined) await ask(call as Call, 'volume-quota', { volume: volume.volume, bytes_max });
    if (json) call.json(volume);
  },
  examples: [{ text: 'a volume for a project, of 50 GiB, spread over three servers', line: 'mkfs.xtreemfs data --mode 1777 --quota 50G --width 3 --placement spread' }],
  exitStatus: commonExitStatus,
  seeAlso: [['rmfs.xtreemfs', 8], ['lsfs.xtreemfs', 1], ['mount.xtreemfs', 8], ['xtfsutil', 1], ['xvolume', 1]],
});

await runIfMain(import.meta, command);
