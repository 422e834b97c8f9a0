export declare function writeSigned(path: string, manifest: object, sources: readonly (string | Buffer)[], key: string | Buffer): void
