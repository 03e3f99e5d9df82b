# Memory to compile with: a board of 512 MB gets a swap file for the time, or does without the language model engine.
# shellcheck shell=bash disable=SC2034,SC2154 # sourced by install.sh: names are shared with its other parts

readonly mib_to_compile=640 # 0.45 GiB for the compiler's largest file (measured, x86-64), the rest for pip and ninja
readonly swap_mib=1024

room_to_compile() { # status 1, and `missing_llm` set, where the language model engine has to be left out
  local memory answer
  memory=$(mib 'MemAvailable SwapFree')
  if ((memory >= mib_to_compile)); then return 0; fi
  say "$memory MiB of memory and swap are free; compiling takes $mib_to_compile MiB."
  if ! $with_swap && $live && [[ -t 0 ]]; then
    read -r -p "      Make a swap file of $swap_mib MiB until it is done? [Y/n] " answer || answer=n
    if [[ ! $answer =~ ^[Nn] ]]; then with_swap=true; fi
  fi
  if ! $with_swap; then
    missing_llm="$memory MiB of memory and swap are too little to compile it: add --swap, or a --wheelhouse that has it."
  elif ! lend_swap; then
    return 1
  fi
  [[ -z $missing_llm ]]
}

lend_swap() { # status 1, and `missing_llm` set, where there can be none
  local file=$opt/.swap
  if (($(free_mib "$opt") < swap_mib + 2500)); then
    missing_llm="there is no disk space for a swap file of $swap_mib MiB."
    return 1
  fi
  return_swap
  if (umask 077 && dd if=/dev/zero of="$file" bs=1M count=$swap_mib status=none) >>"$log" 2>&1 &&
    mkswap "$file" >>"$log" 2>&1 && swapon "$file" >>"$log" 2>&1; then
    say "A swap file of $swap_mib MiB is in use until it is done."
  else
    rm -f "$file"
    missing_llm="this kernel or file system takes no swap file (log: $log)."
    return 1
  fi
}

return_swap() { # also what an interrupted run left
  if [[ -e $opt/.swap ]]; then
    swapoff "$opt/.swap" >>"$log" 2>&1 || true
    rm -f "$opt/.swap"
  fi
}
