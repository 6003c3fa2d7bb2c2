# Turns the profile that Docker and Podman ship (containers-common's /usr/share/containers/seccomp.json) into the
# `linux.seccomp` section of config.json, as an engine does for one container on x86_64:
#
#   jq --argjson caps "$(jq .process.capabilities.bounding docker/config.json)" -f seccomp.jq /usr/share/containers/seccomp.json
#
# A rule stays when its `includes` hold and its `excludes` do not, for the capabilities in $caps and amd64.
["amd64", "x86", "x32"] as $arches
| def meets($want; $have): ($want // []) as $w | ($w | length) == 0 or ($w - $have | length) < ($w | length);
{
  defaultAction,
  defaultErrnoRet,
  architectures: (.archMap[] | select(.architecture == "SCMP_ARCH_X86_64") | [.architecture] + .subArchitectures),
  syscalls: [
    .syscalls[]
    | select(((.includes.caps // []) - $caps) == [])
    | select(meets(.includes.arches; $arches))
    | select((.excludes.caps // []) as $e | $e == [] or ($e - $caps) == $e)
    | { names, action }
      + (if .errnoRet then { errnoRet } else {} end)
      + (if (.args // []) == [] then {} else
          { args: [.args[] | { index, value } + (if .valueTwo == 0 then {} else { valueTwo } end) + { op }] } end)
  ]
} | del(.. | nulls)
