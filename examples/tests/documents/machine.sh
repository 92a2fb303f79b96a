#!/bin/sh
# A server in namespaces: the disk of this machine below a layer of its own, and a systemd as its
# process 1. Told: its group, the folder of its disk, its name, our programs, the examples, and a
# registry of packages.
set -eu
if [ "$1" != inside ]; then
    echo $$ > "$1/cgroup.procs"
    shift
    exec unshare --mount --pid --fork --kill-child --uts --ipc --cgroup --propagation private \
        sh "$0" inside "$@"
fi
disk=$2 name=$3 programs=$4 examples=$5 packages=$6 root=$disk/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$disk/upper,workdir=$disk/work" "$root"
cd "$root"

hostname "$name"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf bpf sys/fs/bpf
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
umask 0
for device in null:3 console:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "dev/${device%:*}" c 1 "${device#*:}"
done
mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
umask 022

# As Debian is installed: what this machine has been set up for is not there, nor any list of what
# could be, which is that of the registry beside it.
if [ ! -e etc/bare ]; then
    dpkg-query --show --showformat '${db:Status-Abbrev} ${Package}\n' '*nginx*' |
        awk '$1 == "ii" { print $2 }' |
        DEBIAN_FRONTEND=noninteractive xargs chroot . dpkg --purge > bare.log 2>&1
    rm -rf etc/systemd/system/*.wants etc/ha-node usr/lib/ha-node usr/bin/ha \
        var/lib/ha-* var/log/ha-* var/log/journal usr/sbin/policy-rc.d \
        etc/apt/sources.list etc/apt/sources.list.d var/lib/apt/lists
    echo 'deb [trusted=yes] file:/packages ./' > etc/apt/sources.list
    find etc/rc?.d -name 'S*' -delete
    : > etc/fstab
    mkdir -p etc/systemd/system/multi-user.target.wants bare/examples var/log/journal \
        programs packages var/www/html
    ln -sf /lib/systemd/system/multi-user.target etc/systemd/system/default.target
    for unit in console-getty.service getty.target systemd-logind.service; do
        ln -sf /dev/null "etc/systemd/system/$unit"
    done
    echo "$name" > etc/hostname
    tr -d - < proc/sys/kernel/random/uuid > etc/machine-id
    # What the service will show first.
    echo "$name" > var/www/html/index.html
    touch etc/bare
fi
mount --bind "$programs" programs
mount --bind "$packages" packages
mount --bind "$examples" bare/examples
for program in mirror-node farm-node witness-node ha-guardian ha; do
    ln -sf "/programs/$program" bare/
done

mkdir run/old
pivot_root . run/old
cd /
umount -l /run/old
# As systemd does it on a machine of its own; units with credentials need it.
mount --make-rshared /
exec env -i container=lab PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 /lib/systemd/systemd --show-status=no --log-target=journal
