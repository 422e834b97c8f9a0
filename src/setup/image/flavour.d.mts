export interface Flavour {
  readonly name: string
  readonly title: string
  readonly roots: readonly string[]
  readonly programs: readonly string[]
  readonly outputs: readonly string[]
  readonly root: { readonly format: 'erofs' | 'squashfs', readonly options: readonly string[] }
  readonly kernel: { readonly commandLine: string, readonly modules_without: readonly string[], readonly initrd_always: readonly string[], readonly initrd_modules: readonly string[] }
  readonly disk?: { readonly esp_mib: number, readonly slot_mib: number, readonly data_mib: number }
}
export declare const OUTPUTS: readonly string[]
export declare function flavourNames(folder?: string): string[]
export declare function readFlavour(name: string, folder?: string): Flavour
