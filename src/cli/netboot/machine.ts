import { XosError } from '../../core/errors.ts';
import type { NetbootSettings } from './settings.ts';

/**
 * Which machine has the address, by the two that saw it for themselves: the kernel (who answers there now) and dnsmasq (whom it gave the
 * address). What the machine says of itself does not count. Throws XOS_NETBOOT when they know nothing or differ.
 */
export function machineAt(address: string, arp: string, leases: string): string {
  const heard = arp.split('\n').map((line) => line.trim().split(/\s+/)).find(([ip, , flags]) => ip === address && flags !== '0x0')?.[3]?.toLowerCase();
  const given = leases.split('\n').map((line) => line.split(' ')).find(([, , ip]) => ip === address)?.[1]?.toLowerCase();
  if (heard === undefined || given === undefined) throw new XosError('XOS_NETBOOT', `address '${address}' is not that of a machine which boots here: ${given === undefined ? 'it was not given to any' : 'nobody answers there'}`);
  if (heard !== given) throw new XosError('XOS_NETBOOT', `address '${address}' was given to machine '${given}', and '${heard}' uses it`);
  return given;
}

/** The id of the machine's node: listed, remembered from an earlier boot, or the next free one; `remembered` gets the last kind. Throws XOS_NETBOOT. */
export function nodeOf(mac: string, settings: NetbootSettings, remembered: Readonly<Record<string, string>>): { readonly node: string; readonly isNew: boolean } {
  const listed = settings.nodes[mac] ?? remembered[mac];
  if (listed !== undefined) return { node: listed, isNew: false };
  const count = Object.keys(remembered).length;
  if (count >= settings.any) {
    throw new XosError('XOS_NETBOOT', `machine '${mac}' is not listed${settings.any === 0 ? '' : `, and ${count} others were taken in already`}; let it in with 'xnetboot add ${mac} NODE'`, { mac });
  }
  const taken = new Set([...Object.values(settings.nodes), ...Object.values(remembered)]);
  let number = 1;
  while (taken.has(`c${number}`)) number += 1;
  return { node: `c${number}`, isNew: true };
}
