import { XosError, describe } from '../../core/errors.ts';
import type { Disk } from '../../core/ports.ts';
import { ask } from '../lib/api.ts';
import type { Call } from '../lib/command.ts';
import { machineAt, nodeOf } from './machine.ts';
import { http_port, type NetbootSettings } from './settings.ts';

export interface BootFiles {
  /** /proc/net/arp */
  readonly arp: string;
  readonly leases: string;
  /** Names given to machines that nobody listed. */
  readonly remembered: string;
}

/**
 * The iPXE script for the machine at `address`: the image, and on the kernel's command line a token that lets it join under its name, once.
 * A machine that boots has lost the key it had (it was in memory), so the certificate for that is revoked first.
 * The answer is always a script: one that says on the machine's screen why it is not booted, and starts it anew later.
 */
export async function bootScript(call: Call, settings: NetbootSettings, address: string, files: BootFiles, disk: Disk): Promise<string> {
  try {
    const [arp, leases, line] = await Promise.all([text(disk, files.arp), text(disk, files.leases), text(disk, `${settings.image}/cmdline`)]);
    if (line.trim() === '') throw new XosError('XOS_NETBOOT', `there is no image in '${settings.image}': unpack a cluster image (xtreemos-cluster-*.netboot.tar) there`);
    const mac = machineAt(address, arp, leases);
    const node = await rememberedNode(mac, settings, files.remembered, disk);
    const token = await invite(call, node);
    call.note(`machine '${mac}' at '${address}' boots as node '${node}'`);
    return startScript(settings, `${line.trim()} xos.join=${token} xos.roles=${settings.roles.join(',')}`);
  } catch (thrown) {
    call.note(`did not boot the machine at '${address}': ${describe(thrown)}`);
    return refusal(describe(thrown));
  }
}

async function rememberedNode(mac: string, settings: NetbootSettings, path: string, disk: Disk): Promise<string> {
  const kept = await disk.read(path);
  const remembered = kept === null ? {} : (JSON.parse(kept.toString('utf8')) as Record<string, string>);
  const { node, isNew } = nodeOf(mac, settings, remembered);
  if (isNew) await disk.writeAtomic(path, `${JSON.stringify({ ...remembered, [mac]: node }, null, 2)}\n`, { mode: 0o644 });
  return node;
}

async function invite(call: Call, node: string): Promise<string> {
  const { nodes } = await ask(call, 'node-list', {});
  if (nodes.some((each) => each.node === node && each.state === 'admitted')) await ask(call, 'node-revoke', { node });
  return (await ask(call, 'node-invite', { node })).token;
}

function startScript({ address }: NetbootSettings, line: string): string {
  const base = `http://${address}:${http_port}/image`;
  // The root is in the initrd, where the first process looks for it (image/initrd); its blocks are checked against the hash in the line.
  return `#!ipxe\nkernel ${base}/linux initrd=initrd ${line}\ninitrd ${base}/initrd\nboot\n`;
}

/** iPXE expands `${…}` and ends a command at a newline or a semicolon. */
function refusal(reason: string): string {
  const plain = reason.replace(/[^A-Za-z0-9 .,:'_@/-]/g, ' ').slice(0, 400);
  return `#!ipxe\necho XtreemOS: this machine is not booted: ${plain}\nsleep 30\nreboot\n`;
}

const text = async (disk: Disk, path: string): Promise<string> => (await disk.read(path))?.toString('utf8') ?? '';
