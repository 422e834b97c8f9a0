import { copyFile, mkdir, symlink, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { XosError } from '../../core/errors.ts';
import { parseNodeId } from '../../core/ids.ts';
import { systemDisk } from '../../platform/disk.ts';
import { systemSpawn } from '../../platform/spawn.ts';
import type { Call } from '../lib/command.ts';
import { dnsmasqConfiguration } from './dnsmasq.ts';
import { parseMac, parseSettings, readSettings, settings_path, type NetbootSettings } from './settings.ts';

const run_folder = '/run/xos/netboot';
const loaders = '/usr/lib/ipxe';
const command_ms = 30_000;

export interface UpOptions {
  readonly interface?: string | undefined;
  readonly address?: string | undefined;
  readonly image?: string | undefined;
  readonly any?: number | undefined;
}

/** Writes the settings (those that are not given stay) and starts the services anew. */
export async function netbootUp(call: Call, options: UpOptions): Promise<void> {
  if (process.geteuid?.() !== 0) throw new XosError('XOS_DENIED', 'only root can make this machine the head of a cluster');
  const present = await readSettings(systemDisk);
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const moved = options.address !== undefined && options.address !== present?.address;
  const { range, ...kept } = present ?? { range: undefined };
  const wanted = { ...kept, ...(moved ? {} : { range }), ...given };
  const settings = parseSettings(JSON.stringify(wanted));
  await write(settings);
  await systemctl(['restart', 'xos-netboot-http.service', 'xos-netboot.service'], call.signal);
  await systemctl(['enable', '--quiet', 'xos-netboot-http.service', 'xos-netboot.service'], call.signal);
  call.out.write(`machines on '${settings.interface}' boot from ${settings.address}: ${Object.keys(settings.nodes).length} listed, ${settings.any} others\n`);
}

export async function netbootAdd(call: Call, mac: string, node: string): Promise<void> {
  const settings = await readSettings(systemDisk);
  if (settings === null) throw new XosError('XOS_NETBOOT', "this machine is no head of a cluster yet; make it one with 'xnetboot up'");
  await write(parseSettings(JSON.stringify({ ...settings, nodes: { ...settings.nodes, [parseMac(mac)]: parseNodeId(node) } })));
  call.out.write(`machine ${parseMac(mac)} boots as node ${node}\n`);
}

const write = (settings: NetbootSettings): Promise<void> => systemDisk.writeAtomic(settings_path, `${JSON.stringify(settings, null, 2)}\n`, { mode: 0o644 });

/** /run/xos/netboot: dnsmasq.conf, tftp/ with the boot loaders, www/ with the image and the CGI program. */
export async function netbootPrepare(leases: string): Promise<void> {
  const settings = await readSettings(systemDisk);
  if (settings === null) throw new XosError('XOS_NETBOOT', `'${settings_path}' is not there; write it with 'xnetboot up'`);
  const [tftp, www] = [`${run_folder}/tftp`, `${run_folder}/www`];
  await rm(run_folder, { recursive: true, force: true });
  for (const folder of [tftp, `${www}/cgi-bin`, dirname(leases)]) await mkdir(folder, { recursive: true, mode: 0o755 });
  for (const loader of ['undionly.kpxe', 'snponly.efi']) await copyFile(`${loaders}/${loader}`, `${tftp}/${loader}`);
  await symlink(settings.image, `${www}/image`);
  await writeFile(`${www}/cgi-bin/boot`, '#!/bin/sh\nexec /usr/bin/xnetboot script\n', { mode: 0o755 });
  await writeFile(`${run_folder}/dnsmasq.conf`, dnsmasqConfiguration(settings, { tftp, leases }), { mode: 0o644 });
  await writeFile(`${run_folder}/http.env`, `ADDRESS=${settings.address}\n`, { mode: 0o644 });
}

async function systemctl(args: readonly string[], signal: AbortSignal): Promise<void> {
  const { exit_code, stderr } = await systemSpawn.run('systemctl', ['--no-ask-password', ...args], { signal, timeout_ms: command_ms });
  if (exit_code !== 0) throw new XosError('XOS_SERVICE', `cannot ${args[0]} the netboot services: ${stderr.trim()}`);
}
