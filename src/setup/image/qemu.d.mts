export declare function imageArguments(machine: {
  firmware: 'uefi' | 'bios', secure?: boolean, disk?: string, iso?: string, variables?: string, serial: readonly string[], memory_mib?: number, cpus?: number, network?: boolean | 'alone' | readonly { socket: string, mac: string }[],
  drives?: readonly string[], direct?: { linux: string, initrd: string, line: string }
}): string[]
export declare function makeOverlay(tools: string, image: string, path: string, options?: { size_gib?: number, signal?: AbortSignal }): Promise<void>
export declare function makeVariables(tools: string, path: string): void
