// A VO on machines that were started from images: what an administrator types.
import { type ImageMachine, boot_ms } from './machine.ts'

/** Password of the VO's first member. */
export const member = 'correct-horse-1'

export const mac = (last: string): string => `52:54:00:78:6f:${last}`

/** A fixed address for a network card, as systemd-networkd takes it; with `more` of its settings, each on a line. */
export async function giveAddress (machine: ImageMachine, card: string, address: string, more = ''): Promise<void> {
  await machine.must(`printf '[Match]\\nMACAddress=${card}\\n[Network]\\nAddress=${address}/24\\n${more}\\n' >/etc/systemd/network/10-test.network; networkctl reload; until ip -4 -o addr | grep -q ${address}/; do sleep 1; done`)
}

/** Waits until the node is one of those that are ready. */
export async function joined (head: ImageMachine, node: string): Promise<void> {
  await head.must(`until xnode list --quiet | grep -qx ${node}; do sleep 2; done`, 2 * boot_ms)
}
