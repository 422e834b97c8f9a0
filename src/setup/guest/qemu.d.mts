import type { GuestLayers } from './layers.mjs'
export declare function qemuArguments(machine: {
  readonly layers: GuestLayers, readonly disk: string, readonly folder: string, readonly memory_mib: number, readonly cpus: number,
  readonly append?: string | undefined, readonly network?: string | undefined, readonly state?: string | undefined
}): string[]
