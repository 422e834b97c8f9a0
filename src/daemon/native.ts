import type { NativeControls } from './context.ts';
import { describe } from '../core/errors.ts';
import { port_offset, type NodeRole } from '../core/model.ts';
import type { Ports } from '../core/ports.ts';
import type { Service } from '../core/service.ts';
import { coalesce } from '../core/signal.ts';
import { ReconnectingControlClient } from '../platform/control.ts';
import type { MembersView } from '../vo/members.ts';

/** Native daemons by the role that needs them, in the order of their start. */
export const native_services: readonly { readonly role: NodeRole; readonly name: string; readonly control: keyof NativeControls }[] = [
  { role: 'relay', name: 'xos-relayd', control: 'relay' },
  { role: 'osd', name: 'xos-osd', control: 'osd' },
  { role: 'mrc', name: 'xos-mrc', control: 'mrc' },
  { role: 'mount', name: 'xos-mount', control: 'mount' },
];

export interface NativeOptions {
  readonly node: string;
  readonly vo: string;
  readonly run: string;
  /** Where the native daemons have the node's certificate from; they look for `revoked` there (native/wire). */
  readonly credentials: string;
  readonly roles: readonly NodeRole[];
  readonly members: MembersView;
  readonly ports: Ports;
}

/** Starts the native daemons that the node's roles need, holds their control connections, and tells them of the VO's nodes. */
export class NativeServices implements Service {
  readonly name = 'native';
  readonly controls: Readonly<Record<keyof NativeControls, ReconnectingControlClient>>;
  readonly #options: NativeOptions;
  readonly #undo: (() => void)[] = [];
  #failure = '';

  constructor(options: NativeOptions) {
    this.#options = options;
    const { run, vo, ports } = options;
    const client = (file: string): ReconnectingControlClient => new ReconnectingControlClient(`${run}/${file}`, { ...ports, log: ports.log.child('control') });
    this.controls = { relay: client('relayd.ctl'), osd: client('osd.ctl'), mrc: client('mrc.ctl'), mount: client(`mount-${vo}.ctl`) };
  }

  /** Those of the node's roles. Who logs in where volumes are mounted starts jobs on other nodes, so a light node has the relay as their home end, without the role of running any. */
  wanted(): typeof native_services {
    const { roles } = this.#options;
    return native_services.filter(({ role }) => roles.includes(role) || (role === 'relay' && roles.includes('mount')));
  }

  async start(signal: AbortSignal): Promise<void> {
    const { node, vo, run, ports, members } = this.#options;
    // The services' run scripts read it; they start only after it is there.
    await ports.disk.writeAtomic(`${run}/node.env`, `NODE=${node}\nVO=${vo}\n`, { mode: 0o644, durable: false });
    await this.#writeRevoked();
    for (const { name, control } of this.wanted()) {
      try {
        await ports.serviceManager.up(name, signal);
      } catch (thrown) {
        this.#failure = describe(thrown);
        ports.log.error('a service was not started', { name, reason: this.#failure });
      }
      this.controls[control].start();
    }
    const push = coalesce(() => this.#pushPeers(), (thrown) => ports.log.warn('the relay did not take the peers', { reason: describe(thrown) }));
    this.#undo.push(this.controls.relay.onConnect(push), members.onChange(push), members.onChange(coalesce(() => this.#refuseRevoked(), (thrown) => ports.log.error('revoked nodes are not all refused', { reason: describe(thrown) }))));
  }

  /** The native daemons live on: that xosd stops or is renewed is nothing to jobs and files. */
  async stop(): Promise<void> {
    for (const stop of this.#undo.splice(0)) stop();
    await Promise.all(Object.values(this.controls).map((control) => control.close()));
  }

  status(): { up: boolean; detail: string } {
    return { up: this.#failure === '', detail: this.#failure };
  }

  async #pushPeers(): Promise<void> {
    const { relay } = this.controls;
    if (!relay.connected) return;
    const nodes = this.#options.members.admitted().filter((node) => node.roles.includes('relay'));
    await relay.request('peers', { nodes: nodes.map(({ node, address, port }) => ({ node, address, port: port + port_offset.relay })) });
  }

  async #writeRevoked(): Promise<void> {
    const { members, ports, credentials } = this.#options;
    await ports.disk.writeAtomic(`${credentials}/revoked`, members.revokedSerials().map((serial) => `${serial}\n`).join(''), { mode: 0o644 });
  }

  /** Its connections end within a second; what it holds at this MRC (locks, capabilities) is taken from it. */
  async #refuseRevoked(): Promise<void> {
    await this.#writeRevoked();
    const { mrc } = this.controls;
    if (!mrc.connected) return;
    for (const { node, state } of this.#options.members.nodes()) if (state === 'revoked') await mrc.request('client-drop', { node });
  }
}
