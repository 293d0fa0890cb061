export type { ServiceStatus } from './activator.ts';
export { FileBlobStore } from './blob-store.ts';
export { bundleSystem } from './bundler.ts';
export { DataDirectory, DataDirectoryError, type HostFile } from './data-directory.ts';
export { jsonLines } from './json-lines.ts';
export type { Manifest, ManifestService } from './manifest.ts';
export { LocalPlatform, type LocalPlatformOptions } from './platform.ts';
export { type CommitNotice, SqliteStateStore } from './state-store.ts';
export { RemoteStateStore, serveStateStore } from './state-wire.ts';
