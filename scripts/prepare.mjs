#!/usr/bin/env node
/**
 * Brings this computer to where `npm start` and `npm test` can run: the distribution's packages as root on Debian, and
 * the workspace's packages anywhere. Installs only what is missing, says what and why, and starts no service.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { find, isRoot, main, node, Refusal, root } from './workspace.mjs'

/** Everything that `npm start`, `npm test` and `npm run bench` need. Throws a `Refusal` that says what to do. */
export function prepare() {
  checkNode()
  checkSystem()
  takeAwayPolicy()
  if (isRoot()) installTools()
  else checkTools()
  installPackages()
}

/** What the machine room runs on: how it is known to be there, the Debian package, and what it is for. */
const tools = [
  { has: () => find('etcd'), package: 'etcd-server', why: 'the store of the cluster' },
  { has: () => find('dockerd'), package: 'docker.io', why: 'an engine for each host' },
  // Newer releases split the command from the engine.
  { has: () => find('docker'), package: 'docker-cli', or: 'docker.io', why: 'the docker command' },
  { has: () => find('haproxy'), package: 'haproxy', why: 'the proxy of each host' },
  { has: () => find('iptables'), package: 'iptables', why: 'the networks of containers' },
  { has: () => find('ip'), package: 'iproute2', why: 'the network between the hosts' },
  { has: () => find('nft'), package: 'nftables', why: 'lost and refused connections in tests' },
  { has: () => find('busybox'), package: 'busybox-static', why: 'the sample service' },
  {
    has: () => find('docker-registry'),
    package: 'docker-registry',
    why: 'a registry for the sample service',
  },
  {
    has: () => existsSync('/etc/ssl/certs/ca-certificates.crt'),
    package: 'ca-certificates',
    why: 'TLS to image registries',
  },
  {
    has: () => !appArmorIsOn() || find('apparmor_parser'),
    package: 'apparmor',
    why: 'containers on a kernel with AppArmor',
  },
]

const leastNode = 20

function checkNode() {
  if (Number(process.versions.node.split('.')[0]) >= leastNode) return
  throw new Refusal(`Node ${process.versions.node} is too old.\nNext: install Node ${leastNode} or newer.`)
}

/** Hosts are made of what Linux has; nobody has tried them anywhere else. */
function checkSystem() {
  if (process.platform === 'linux') return
  throw new Refusal(
    `Boxcar runs on Linux only, and this is ${process.platform}.\nNext: run the command on a Linux machine, also a virtual one.`,
  )
}

/** As root on Debian: installs the missing tools, all at once. */
function installTools() {
  const missing = tools.filter(tool => !tool.has())
  if (missing.length === 0) return
  if (find('apt-get') === undefined) {
    throw new Refusal(
      `Missing: ${missing.map(tool => tool.package).join(', ')}. Only Debian's packages can be installed here.\n` +
        'Next: install the same programs with the package manager of this system, then run the command again.',
    )
  }
  say('Installing from the distribution, since these are missing:')
  for (const tool of missing) say(`  ${tool.package.padEnd(16)} ${tool.why}`)
  // The lists may name versions that the mirror has no more, and a fresh image has no lists at all.
  apt('update')
  const names = missing.map(tool =>
    tool.or === undefined || isOffered(tool.package) ? tool.package : tool.or,
  )
  withoutServices(() => {
    // --no-remove: what is there already stays, whatever it conflicts with.
    apt('install', '--yes', '--no-install-recommends', '--no-remove', ...new Set(names))
  })
  keepFromBoot(names)
  const still = missing.filter(tool => !tool.has())
  if (still.length > 0) {
    throw new Refusal(`Still missing after the installation: ${still.map(tool => tool.package).join(', ')}.`)
  }
}

/** Not as root: says what to install. */
function checkTools() {
  const needed = tools.filter(tool => ['etcd-server', 'docker-cli', 'haproxy'].includes(tool.package))
  const missing = needed.filter(tool => !tool.has())
  if (missing.length === 0) return
  const names = missing.map(tool => tool.or ?? tool.package)
  throw new Refusal(
    `Missing: ${names.join(', ')}.\nNext: as root: apt-get install ${names.join(' ')}, or run this command as root on Debian, which does it.`,
  )
}

function apt(...args) {
  const run = spawnSync('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=300', ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
  if (run.status === 0) return
  throw new Refusal(
    `"apt-get ${args.join(' ')}" failed.\nNext: see its message above; "apt-get update" and "apt-get -f install" often help.`,
  )
}

/** Whether the distribution has a package of that name to install. */
function isOffered(name) {
  const listed = spawnSync('apt-cache', ['policy', name], { encoding: 'utf8' })
  return /Candidate: (?!\(none\))/.test(listed.stdout ?? '')
}

const policyFile = '/usr/sbin/policy-rc.d'
const policyText =
  '#!/bin/sh\n# Put here by the preparation of Boxcar for the length of one installation.\nexit 101\n'

const ending = ['SIGINT', 'SIGTERM', 'SIGHUP']

/**
 * Debian's packages start their services while they are installed, unless this file says that they may not. A signal meanwhile
 * ends apt, which hears it as well, and not this program before the file is gone: with it no service would ever start again.
 */
export function withoutServices(act, policy = policyFile) {
  if (existsSync(policy)) return act()
  const wait = () => undefined
  for (const signal of ending) process.on(signal, wait)
  try {
    writeFileSync(policy, policyText)
    chmodSync(policy, 0o755)
    return act()
  } finally {
    rmSync(policy, { force: true })
    for (const signal of ending) process.off(signal, wait)
  }
}

/** Ours only; of a run that was killed it may still be there. */
export function takeAwayPolicy(policy = policyFile) {
  if (isRoot() && existsSync(policy) && readFileSync(policy, 'utf8') === policyText) rmSync(policy)
}

/** What was installed for our own processes shall not run as a service after the next boot either. */
function keepFromBoot(names) {
  const systemctl = find('systemctl')
  if (systemctl === undefined) return
  const units = {
    'etcd-server': ['etcd.service'],
    'docker.io': ['docker.service', 'docker.socket', 'containerd.service'],
    haproxy: ['haproxy.service'],
    'docker-registry': ['docker-registry.service'],
  }
  const mine = names.flatMap(name => units[name] ?? [])
  if (mine.length > 0) spawnSync(systemctl, ['--quiet', 'disable', ...mine], { stdio: 'ignore' })
}

function appArmorIsOn() {
  try {
    return readFileSync('/sys/module/apparmor/parameters/enabled', 'utf8').startsWith('Y')
  } catch {
    return false
  }
}

/** Installs the workspace's packages when something that decides on them has changed since the last time. */
function installPackages() {
  const stamp = join(root, 'node_modules', '.cache', 'boxcar-packages')
  const wanted = fingerprint()
  if (existsSync(node) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  const modules = join(root, 'node_modules')
  if (lstatSync(modules, { throwIfNoEntry: false })?.isSymbolicLink()) {
    // pnpm writes through the link, and the workspace that it belongs to would then import from this one.
    throw new Refusal(
      `${modules} is a link, and its packages are not up to date.\nNext: rm ${modules}, then again.`,
    )
  }
  const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  say(`Installing the workspace's packages with ${packageManager}`)
  const run = spawnSync('npx', ['--yes', packageManager, 'install', '--frozen-lockfile', '--prod=false'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    // CI: it asks no questions. The other: this is the wanted pnpm already, and frozen it could not note that down
    // in the lockfile, which is the work of whoever changes the version.
    env: { ...process.env, CI: 'true', pnpm_config_pm_on_fail: 'ignore' },
  })
  if (run.status !== 0 || !existsSync(node)) {
    throw new Refusal(
      "The workspace's packages could not be installed.\nNext: see the message above; is the npm registry reachable (npm ping)?",
    )
  }
  mkdirSync(dirname(stamp), { recursive: true })
  writeFileSync(stamp, wanted)
}

/** Changes with the lockfile, a package's dependencies, and the kind of machine. */
function fingerprint() {
  const hash = createHash('sha256').update(process.platform).update(process.arch)
  const packages = readdirSync(join(root, 'packages')).map(name => join('packages', name, 'package.json'))
  for (const file of ['package.json', 'pnpm-lock.yaml', 'pnpm-workspace.yaml', ...packages.sort()]) {
    const path = join(root, file)
    if (existsSync(path)) hash.update(file).update(readFileSync(path))
  }
  return hash.digest('hex')
}

function say(line) {
  process.stderr.write(`${line}\n`)
}

if (process.argv[1] === import.meta.filename) {
  await main(() => {
    prepare()
    return 0
  })
}
