#!/bin/sh
# fastconsole-nvme USER: makes a folder of USER at /opt/dlami/nvme/fastconsole, on the local NVMe disks if there are
# any, else on the root volume.
#
# Deep learning images mount those disks there themselves (dlami-nvme.service). Elsewhere only blank disks are used: of
# EC2's instance store, without partition, holder, mount or signature. No failure here stops the boot.
set -u

at=/opt/dlami/nvme

say() { printf 'fastconsole-nvme: %s\n' "$*" >&2; }

blank() {
    # $1: its folder in /sys/block. blkid's exit status is 2 where it finds nothing.
    name=${1##*/}
    [ -b "/dev/$name" ] || return 1
    for part in "$1/$name"* "$1"/holders/*; do
        [ ! -e "$part" ] || return 1
    done
    ! grep -q "^/dev/$name " /proc/mounts || return 1
    blkid -p "/dev/$name" >/dev/null 2>&1
    [ $? -eq 2 ]
}

blank_disks() {
    for disk in /sys/block/nvme*; do
        model=
        # The kernel pads the model with blanks, which read strips.
        [ -r "$disk/device/model" ] && read -r model <"$disk/device/model"
        if [ "$model" = "Amazon EC2 NVMe Instance Storage" ] && blank "$disk"; then
            echo "/dev/${disk##*/}"
        fi
    done
}

make_file_system() {
    # Blocks are not discarded first: that takes minutes on terabytes, and the disks are new.
    if command -v mkfs.xfs >/dev/null; then
        mkfs.xfs -q -K "$1"
    else
        mkfs.ext4 -q -m 0 -E nodiscard,lazy_itable_init=1,lazy_journal_init=1 "$1"
    fi
}

mount_disks() {
    # shellcheck disable=SC2046 # a list of device names
    set -- $(blank_disks)
    if [ $# -eq 0 ]; then
        say "no blank local disk: $at is on the root volume"
        return
    fi
    whole=$1
    if [ $# -gt 1 ]; then
        if command -v mdadm >/dev/null && mdadm --create /dev/md/fastconsole --run --level=0 --raid-devices=$# "$@"; then
            whole=/dev/md/fastconsole
        else
            say "no RAID over $*: $1 is used alone"
        fi
    fi
    if make_file_system "$whole" && mkdir -p "$at" && mount -o noatime "$whole" "$at"; then
        say "$whole is mounted at $at"
    else
        say "$whole could not be used: $at is on the root volume"
    fi
}

if mountpoint -q "$at"; then
    say "$at is mounted already"
else
    mount_disks
fi
mkdir -p "$at/fastconsole" && chown "$1" "$at/fastconsole"
exit 0
