export interface GuestLayers {
  readonly tools: string; readonly kernel: string; readonly version: string; readonly initrd: string
  readonly layers: readonly string[]; readonly disk: string; readonly hash: string
}
export declare const guestStore: string
export declare function ensureGuestLayers(options: { log: string; plain?: boolean; signal?: AbortSignal; note?: (text: string) => void }): Promise<GuestLayers>
