#!/bin/sh
# A registry as Debian's, in the folder that is told: the packages of nginx, made anew from what this
# machine has installed. So a server without any way out installs them as the documents say.
set -eu
cd "$1"
# It warns of files that were changed since.
dpkg-query --show --showformat '${db:Status-Abbrev} ${Package}\n' '*nginx*' |
    awk '$1 == "ii" { print $2 }' | xargs dpkg-repack 2> /dev/null
for package in *.deb; do
    dpkg-deb --field "$package"
    echo "Filename: ./$package"
    echo "Size: $(stat --format %s "$package")"
    echo "SHA256: $(sha256sum "$package" | cut -d ' ' -f 1)"
    echo
done > Packages
